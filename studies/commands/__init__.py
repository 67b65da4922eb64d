"""The commands of ``sofim``, one module each; they alone know every other room."""
