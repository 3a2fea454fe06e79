"""One of the processes started by :func:`.distributed.launch`; its argument is the path of the job."""

import os
import sys

from triplet_distillation.files import read_json
from triplet_distillation.logs import log_to_stderr
from triplet_distillation.settings import TrainingJob
from triplet_distillation.training.job import train_model

if __name__ == "__main__":
    if os.environ["RANK"] == "0":
        log_to_stderr()
    train_model(TrainingJob.from_dict(read_json(sys.argv[1])))
