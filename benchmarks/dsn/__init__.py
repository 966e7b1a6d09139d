"""Deep Serial Number, measured: the paper's tables and figures beside ours, and what its strong form has to show."""
