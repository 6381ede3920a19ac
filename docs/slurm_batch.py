"""Run a batch on SLURM: workers are jobs, started with dask-jobqueue.

    python slurm_batch.py recipe.yaml sessions.csv --output results --jobs 40

Adapt partition, memory and time. Run again, it continues where it stopped.
"""

import argparse
import sys

import dask
from dask_jobqueue import SLURMCluster
from distributed import Client

import si_curation as sic


def main() -> int:
    """Start the workers, run the batch, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("recipe")
    parser.add_argument("sessions", nargs="+", help="folders, quoted patterns, or a table")
    parser.add_argument("--output", required=True, help="on a file system that all nodes share")
    parser.add_argument("--jobs", type=int, default=10, help="largest number of jobs at a time")
    arguments = parser.parse_args()

    dask.config.set({"distributed.scheduler.allowed-failures": 2})
    with SLURMCluster(
        queue="normal",  # the partition
        cores=4,  # threads of one session: one worker process for each job
        processes=1,
        memory="16GB",
        walltime="04:00:00",
        # workers end by themselves before SLURM ends them, and are replaced
        worker_extra_args=["--lifetime", "3h50m", "--lifetime-stagger", "5m"],
    ) as cluster:
        cluster.adapt(maximum_jobs=arguments.jobs)
        with Client(cluster) as client:
            result = sic.run_batch(
                arguments.sessions, arguments.recipe, arguments.output, client=client
            )
    print(result)  # noqa: T201
    print(result.failed[["session", "error"]].to_string(index=False))  # noqa: T201
    return 1 if len(result.failed) else 0


if __name__ == "__main__":
    sys.exit(main())
