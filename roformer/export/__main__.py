"""``python -m roformer.export``: write a trained model for another runtime.

python -m roformer.export onnx outputs/mlm-docs-rope-seed1                           # model.onnx in its export
python -m roformer.export onnx outputs/mlm-docs-rope-seed1 --output site/model.onnx
python -m roformer.export gguf outputs/mlm-docs-rope-seed1                           # model.gguf
"""

import argparse
from pathlib import Path

from roformer.cli.arguments import ArgumentParser, check_output
from roformer.cli.command import silence_libraries
from roformer.cli.errors import one_line_errors
from roformer.runs.folder import find_export


@one_line_errors
def main() -> None:
    parser = ArgumentParser(
        prog="python -m roformer.export", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    formats = parser.add_subparsers(required=True, metavar="FORMAT")
    for name, (purpose, write) in _FORMATS.items():
        default = f"model.{name}"
        chosen = formats.add_parser(name, help=purpose)
        chosen.add_argument("path", metavar="PATH", help="the folder of a finished run, or an export")
        chosen.add_argument("--output", type=Path, metavar="FILE", help=f"default: {default} next to the tokenizer")
        chosen.set_defaults(default=default, write=write)
    arguments = parser.parse_args()
    silence_libraries()
    export = find_export(arguments.path)
    file = arguments.output or export / arguments.default
    check_output(file)
    print(f"wrote {file}; {arguments.write(export, file)}")


def _onnx(export: Path, file: Path) -> str:
    from roformer.export import onnx  # seconds of imports, which --help need not wait for

    return f"its logits differ from PyTorch's by up to {onnx.export_onnx(export, file):.1e} of the largest"


def _gguf(export: Path, file: Path) -> str:
    from roformer.export import gguf

    pooling = gguf.export_gguf(export, file)
    return f"the encoder without its head, as {gguf.ARCHITECTURE} with pooling {pooling}"


_FORMATS = {
    "onnx": ("for ONNX Runtime and others that read ONNX", _onnx),
    "gguf": ("for text embeddings by llama.cpp", _gguf),
}


if __name__ == "__main__":
    main()
