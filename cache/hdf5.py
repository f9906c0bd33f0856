"""h5py, imported in one place and only when bytes are looked at.

Plugins are off: HDF5 would load any library in ``$HDF5_PLUGIN_PATH`` that a file's filter asks for. The variable must
be set before HDF5 starts; filters registered from within Python still work.
"""

import os

os.environ.setdefault("HDF5_PLUGIN_PRELOAD", "::")

import h5py

__all__ = ["h5py"]
