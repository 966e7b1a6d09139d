"""`python -m benchmarks.thread`: what the first thread, from clone to licensed answer, has to show."""

from benchmarks.thread.parts import THREAD

if __name__ == "__main__":
    THREAD.main()
