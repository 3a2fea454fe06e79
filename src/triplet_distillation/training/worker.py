"""One of the processes that :func:`.processes.launch` starts, with the path of its job."""

import os
import sys

from triplet_distillation.files import read_json
from triplet_distillation.logs import log_to_stderr
from triplet_distillation.training.run import train_model

if __name__ == "__main__":
    if os.environ["RANK"] == "0":
        log_to_stderr()
    train_model(**read_json(sys.argv[1]))
