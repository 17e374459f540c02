"""Ending what a killed runner left behind."""

import signal
import subprocess
import sys
from pathlib import Path

from app.dev._process import end_processes_in

MAIN_THREAD_FIRST = """
import ctypes, os, signal, sys, threading, time

def end(*_):
    threading.Thread(target=lambda: (time.sleep(0.3), os._exit(0))).start()
    ctypes.CDLL(None).pthread_exit(None)

signal.signal(signal.SIGTERM, end)
print("ready", flush=True)
while True:
    signal.pause()
"""


def test_who_is_ended_is_gone_with_all_threads(tmp_path: Path) -> None:
    command = [sys.executable, "-c", MAIN_THREAD_FIRST]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        end_processes_in(tmp_path, signal.SIGTERM)
        assert process.poll() == 0
