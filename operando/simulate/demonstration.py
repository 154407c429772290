"""The embedded example: its files wherever it runs, and what was found beside the truth."""

from __future__ import annotations

import json
from pathlib import Path
