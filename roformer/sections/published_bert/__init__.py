"""The two numbers of the paper's Figure 3 (left) next to ours; they share a direction, not a scale."""

from collections.abc import Iterator

from roformer.report.blocks import Block
from roformer.report.numbers import MISSING, display_name, with_interval
from roformer.report.table import Table
from roformer.results.comparison import Comparison
from roformer.sections import lm_loss, steps_to_target
from roformer.sections.section import SECTIONS, Nothing, Section


@SECTIONS.register("published_bert")
class PublishedBert(Section[Nothing]):
    heading = "Comparison with the paper"
    place = 850

    def render(self, summary: Nothing, comparison: Comparison) -> Iterator[Block]:
        losses, speeds = comparison.get(lm_loss.Summary), comparison.get(steps_to_target.Summary)
        if losses is None or losses.unit != "masked token" or comparison.reference != "rope":
            return
        name = "learned"  # BERT's own positions, whatever the paper calls them
        if name not in losses.encodings or not losses.encodings[name].difference:
            return
        races = speeds.encodings.get(name, ()) if speeds else ()
        ratios = "; ".join(f"{with_interval(race.ratio, 2)} to {race.target_loss:.3g}" for race in races)
        yield Table(
            name="published_bert",
            title=f"The paper and this comparison (RoFormer vs. BERT; here RoPE vs. {display_name(name)})",
            columns=("Quantity", "Paper", "Here"),
            rows=(
                (
                    "Loss difference (nats)",
                    "0.18 at 100k, 0.14 at 250k steps",
                    with_interval(losses.encodings[name].difference, 3),
                ),
                ("Steps to a loss, ratio", "2.14, 1.30, 1.43, 2.17 to 5.5, 3.5, 3.0, 2.2", ratios or MISSING),
            ),
            note="Paper: read off the curves of its Figure 3 (left), which come without numbers or intervals. "
            "Only the direction compares: the paper plots training loss, of one BERT-base run each, over 3 to 8 "
            "billion tokens of other text.",
        )
