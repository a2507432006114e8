"""The forges: where source code is kept. One file a forge behind the port of ``port.py``."""
