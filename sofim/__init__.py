"""SOFIM and the optimizers it is compared with."""
