"""Archives of made-up files."""

import io
import tarfile
import zipfile


def tar(path, files):
    """Write names and bytes to a tar."""
    with tarfile.open(path, "w") as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return path


def zipped(path, files):
    """Write names and bytes to a zip."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(zipfile.ZipInfo(name), data, zipfile.ZIP_DEFLATED)
    return path


def packed(path, files):
    """Write names and bytes to a zip or tar, by its suffix."""
    return (zipped if path.suffix == ".zip" else tar)(path, files)
