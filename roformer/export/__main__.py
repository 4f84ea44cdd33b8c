"""``python -m roformer.export``: write a trained model for another runtime.

python -m roformer.export onnx outputs/mlm-docs-rope-seed1                           # model.onnx in its export
python -m roformer.export onnx outputs/mlm-docs-rope-seed1 --output site/model.onnx
"""

import argparse
from pathlib import Path

from roformer.cli.command import silence_libraries
from roformer.cli.errors import one_line_errors
from roformer.export.onnx import FILE, export_onnx
from roformer.runs.folder import find_export


@one_line_errors
def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m roformer.export", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    formats = parser.add_subparsers(required=True, metavar="FORMAT")
    onnx = formats.add_parser("onnx", help="for ONNX Runtime and others that read ONNX")
    onnx.add_argument("path", metavar="PATH", help="the folder of a finished run, or an export")
    onnx.add_argument("--output", type=Path, metavar="FILE", help=f"default: {FILE} next to the tokenizer")
    arguments = parser.parse_args()
    silence_libraries()
    export = find_export(arguments.path)
    file = arguments.output or export / FILE
    difference = export_onnx(export, file)
    print(f"wrote {file}; its logits differ from PyTorch's by up to {difference:.1e} of the largest")


if __name__ == "__main__":
    main()
