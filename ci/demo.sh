#!/usr/bin/env bash
# Scores a pretrained ImageNet network in fp32 and int8, in .venv. Arguments go to the example.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

prepare example
say "example/imagenet_inference.py $*"
exec "$VENV/bin/python" example/imagenet_inference.py "$@"
