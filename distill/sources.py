"""What a network of the user's own is made of, as far as a file tells: for the fingerprints of its weights."""

import hashlib
import importlib.util
import sys
from pathlib import Path


def digest(factory: str) -> str:
    """A digest of the file that `package.module:function` lies in; nothing where none is found.

    What that file imports is not looked at.
    """
    here = str(Path.cwd())
    sys.path.insert(0, here)
    try:
        spec = importlib.util.find_spec(factory.partition(":")[0])
    except (ImportError, ValueError, AttributeError, SyntaxError):
        return ""
    finally:
        sys.path.remove(here)
    file = Path(spec.origin) if spec is not None and spec.has_location and spec.origin else None
    return hashlib.sha256(file.read_bytes()).hexdigest()[:16] if file is not None and file.is_file() else ""
