"""h5py, imported in one place and only when bytes are looked at.

Plugins are off: HDF5 would load any library in ``$HDF5_PLUGIN_PATH`` that a file's filter asks for. The variable must
be set before HDF5 starts; filters registered from within Python still work.
"""

import os
from io import BytesIO
from typing import Any

os.environ.setdefault("HDF5_PLUGIN_PRELOAD", "::")

import h5py

__all__ = ["create", "h5py"]


def create(target: BytesIO) -> Any:
    """Return a new file in memory, in the format of HDF5 1.10, which has checksums on metadata.

    Equal content makes equal bytes: no times are kept, as HDF5 1.14 would for the root group.
    """
    creation, access = (h5py.h5p.create(kind) for kind in (h5py.h5p.FILE_CREATE, h5py.h5p.FILE_ACCESS))
    creation.set_obj_track_times(False)
    access.set_libver_bounds(h5py.h5f.LIBVER_V110, h5py.h5f.LIBVER_V110)
    access.set_fclose_degree(h5py.h5f.CLOSE_STRONG)
    access.set_fileobj_driver(h5py.h5fd.fileobj_driver, target)
    return h5py.File(h5py.h5f.create(b"shard", fcpl=creation, fapl=access))
