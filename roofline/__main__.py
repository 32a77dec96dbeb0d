"""``python -m roofline`` is ``roofline``."""

import gc
import os
import signal  # and no more: until `run` is called Ctrl-C meets Python's own handler, which prints a traceback
import sys
from types import FrameType

_OBJECTS = 100_000  # new ones between two looks for cycles: one answer makes 30,000, all of use to its end


def interrupt(_signal: int, frame: FrameType | None) -> None:
    """Ctrl-C: ends at once while a module is being imported, which extension modules do not survive half done."""
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            os.write(2, b"roofline: interrupted\n")
            os._exit(130)
        frame = frame.f_back
    raise KeyboardInterrupt


def run() -> None:
    """Run the command line; Ctrl-C and a damaged installation are one line from the first moment."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # else whoever started us wants it ignored
        signal.signal(signal.SIGINT, interrupt)
    gc.set_threshold(_OBJECTS)
    if "calibrate" not in sys.argv:  # it alone multiplies matrices; NumPy's threads for that take 20 ms to start
        os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    try:
        from .cli import main
    except Exception as error:  # noqa: BLE001  (whatever a damaged file, or one that hides a package, makes of it)
        from .shadowed import shadowed

        words = shadowed() or f"the installation is damaged: {error}; install roofline again"
        os.write(2, f"roofline: error: {words}\n".encode())
        sys.exit(2)
    status = main()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # all is said: the interpreter may clear up in peace,
    gc.freeze()  # and need not look for cycles in what ends with it: 7 ms
    sys.exit(status)


if __name__ == "__main__":
    run()
