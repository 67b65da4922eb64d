"""What the site needs beside Sphinx: blocks that the build runs, and pages that the program tells."""
