"""`python -m benchmarks.dsn`: Tables 2 to 6 and Figures 2 and 3 of Deep Serial Number beside ours, and what thieves
get."""

from benchmarks.dsn.parts import DSN

if __name__ == "__main__":
    DSN.main()
