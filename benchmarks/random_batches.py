"""scripts/train.py with random batches in place of batches of similar length: the plain side of an ablation.

Not a setting of the engine, for another order of the data is another result.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "scripts"))

import train

from xstilts.training import batching

if __name__ == "__main__":
    batching.WINDOW = 1  # a window of one batch: what is sorted there is a random batch
    train.main()
