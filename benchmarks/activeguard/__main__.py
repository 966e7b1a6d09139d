"""`python -m benchmarks.activeguard`: the tables of ActiveGuard beside ours, and what the strong forms have to show."""

from benchmarks.activeguard.parts import ACTIVEGUARD

if __name__ == "__main__":
    ACTIVEGUARD.main()
