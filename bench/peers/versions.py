"""Prints what is installed, as JSON from package to version."""

import json
from importlib import metadata

print(json.dumps({d.metadata["Name"].lower(): d.version for d in metadata.distributions()}))
