"""Ctrl-C that is not lost where a library turns it into an error of its own."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_came: list[int] = []  # signals, since the program began


def _interrupt(number: int, frame: object) -> None:
    _came.append(number)
    raise KeyboardInterrupt


@contextmanager
def interrupts_as_such() -> Iterator[None]:
    """While it is entered, an error after a Ctrl-C is raised as KeyboardInterrupt, whatever it has become.

    May be nested. Libraries in C that call Python lose the KeyboardInterrupt that comes meanwhile: torch says
    ValueError "could not determine the shape". Only signals that raise KeyboardInterrupt anyway are listened to: a
    program's own handlers stay, and so does all in another thread than the main one, where no signal comes.
    """
    is_main, before = threading.current_thread() is threading.main_thread(), len(_came)
    plain = [each for each in (signal.SIGINT, signal.SIGTERM) if signal.getsignal(each) is signal.default_int_handler]
    for number in plain if is_main else ():
        signal.signal(number, _interrupt)
    try:
        yield
    except Exception as error:
        if len(_came) > before:
            raise KeyboardInterrupt from error
        raise
    finally:
        for number in plain if is_main else ():
            signal.signal(number, signal.default_int_handler)
