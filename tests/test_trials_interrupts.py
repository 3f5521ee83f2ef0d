"""Ctrl-C that a library turned into another error is Ctrl-C still."""

import os
import signal
import threading

import pytest

from trials.numerics.interrupts import interrupts_as_such


def lost_interrupt():
    """As torch does where a signal comes while it asks a Python object for its length."""
    try:
        os.kill(os.getpid(), signal.SIGINT)
        signal.sigtimedwait([], 0)  # the handler runs before the next operation
    except KeyboardInterrupt:
        raise ValueError("could not determine the shape") from None


def test_an_error_after_a_signal_is_an_interrupt():
    with pytest.raises(KeyboardInterrupt), interrupts_as_such():
        lost_interrupt()


def test_an_error_without_a_signal_stays_what_it_is():
    with pytest.raises(ValueError, match="of its own"), interrupts_as_such():
        raise ValueError("of its own")


def test_the_handler_is_afterwards_what_it_was():
    before = signal.getsignal(signal.SIGINT)
    with interrupts_as_such():
        assert signal.getsignal(signal.SIGINT) is not before
    assert signal.getsignal(signal.SIGINT) is before


def test_another_thread_is_left_alone():
    seen = []

    def work():
        with interrupts_as_such():
            seen.append(signal.getsignal(signal.SIGINT))

    before = signal.getsignal(signal.SIGINT)
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [before]


def test_a_handler_of_the_programs_own_stays():
    before = signal.signal(signal.SIGTERM, own := lambda *_: None)
    try:
        with interrupts_as_such():
            assert signal.getsignal(signal.SIGTERM) is own
    finally:
        signal.signal(signal.SIGTERM, before)


def nested():
    with interrupts_as_such():
        try:
            with interrupts_as_such():
                lost_interrupt()
        except ValueError:
            return "lost"


def test_an_inner_one_hears_what_comes_while_an_outer_is_entered():
    with pytest.raises(KeyboardInterrupt):
        nested()
