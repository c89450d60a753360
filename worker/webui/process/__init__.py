"""The WebUI as a program: how it is started, watched, proven ready and ended."""
