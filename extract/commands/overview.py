"""What ``fc7 --help`` says beside the verbs: how they go together, the exit codes and the environment variables.

What only jobs of Slurm, torchrun and Ray have in their environment is said by ``fc7 extract --help``.
"""

TEXT = """
Run frozen backbones once over images, keep the embeddings in a cache, fit heads on them in seconds, and compare
what came out on the same images.

DATA is a folder train|val|test/<class>/, a folder of class folders or of images, a tar or zip, a csv, tsv or parquet
with a column of paths and perhaps label, split, group and bad, or - for paths on standard input.
Both DATA and the cache may be in an object store (`s3://bucket/prefix`, extra fc7[remote]).

Data goes to stdout, progress and log to stderr.
`fc7 VERB --help` and `fc7 help VERB` have the options and examples of a verb.
"""
EXAMPLES = """
# the whole way on 1,797 small pictures, without network
fc7 demo

# on your own pictures: embed, look for what is wrong, compare, see it
fc7 extract my_pictures --backbone vgg16
fc7 audit my_pictures --backbone vgg16 -o audit.html
fc7 compare my_pictures --backbone vgg16 -o my-runs
fc7 report my-runs -o report.html

# label new pictures with one head
fc7 fit my_pictures --backbone vgg16 -o my.fc7
fc7 predict my.fc7 new_pictures/
"""

EXIT_CODES = {
    "0": "done",
    "1": "an error: one line that says what to do next",
    "2": "usage: an unknown verb, option or name",
    "3": "done, but images were rejected, under --strict",
    "4": "the same image on both sides of a split, without --allow-leakage",
    "130": "interrupted; the work so far is kept",
}

ENVIRONMENT = {
    "FC7_CACHE": "the cache, a folder or a URL, unless --cache names one; else fc7 in the user's cache folder",
    "FC7_ALLOW": "what images at web addresses may ask for: private-hosts, redirects, or both with a space between; as "
    "--allow-private-hosts and --allow-redirects",
    "TORCH_HOME": "torchvision's weights are in hub/checkpoints below it; default: torch below $XDG_CACHE_HOME, else "
    "~/.cache/torch",
    "HF_HOME": "timm's weights are in hub below it; default: huggingface below $XDG_CACHE_HOME, else "
    "~/.cache/huggingface",
    "HF_HUB_CACHE": "the folder itself of timm's weights",
    "XDG_CACHE_HOME": "where the user's cache folder is, else ~/.cache (on Linux)",
    "HDF5_PLUGIN_PRELOAD": "fc7 sets it to ::, so that HDF5 loads no plug-in from the disk; a value of yours stays",
    "MLFLOW_EXPERIMENT_NAME": "report --mlflow: the experiment, else fc7",
    "MLFLOW_DISABLE_TELEMETRY": "fc7 sets it to true, so that MLflow counts no users; a value of yours stays",
    "MLFLOW_ALLOW_FILE_STORE": "fc7 sets it to true, so that MLflow writes into folders; a value of yours stays",
    "PYNVIMGCODEC_VERBOSITY": "fc7 sets it to 0, so that nvImageCodec prints nothing; a value of yours stays",
    "NO_COLOR": "no colours, whatever its value",
    "COLUMNS": "the width of help and tables, else the terminal's",
}

ENVIRONMENT_OF_JOBS = {
    "RANK": "--shard auto: which of WORLD_SIZE processes this is, from 0, as torchrun says it",
    "WORLD_SIZE": "--shard auto: how many RANK counts",
    "SLURM_ARRAY_TASK_ID": "--shard auto: which task of a Slurm array this is",
    "SLURM_ARRAY_TASK_MIN": "the first task of the array",
    "SLURM_ARRAY_TASK_MAX": "the last one",
    "SLURM_ARRAY_TASK_COUNT": "how many they are",
    "SLURM_ARRAY_TASK_STEP": "how far they are apart",
    "SLURM_PROCID": "--shard auto: which process of a Slurm step this is, from 0, unless RANK says it",
    "SLURM_STEP_NUM_TASKS": "how many processes the step has",
    "SLURM_NTASKS": "how many tasks the job has; if several and this is in no step, --shard auto refuses",
    "SLURM_STEP_ID": "whether this is in a step, which srun starts",
    "RAY_AUTH_MODE": "token: processes on Ray know each other by one; fc7 sets it for a cluster of its own, and warns "
    "of one of others without it",
    "RAY_AUTH_TOKEN": "that token; for a cluster of its own fc7 draws one that nobody else learns",
    "RAY_USAGE_STATS_ENABLED": "fc7 sets it to 0, so that Ray reports nothing to its makers; a value of yours stays",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "fc7 sets it to 0, as later versions of Ray do; a value of yours stays",
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "fc7 sets it to 0 for a cluster of its own, so that Ray listens on this "
    "machine alone; a value of yours stays",
}
