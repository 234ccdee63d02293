from __future__ import annotations
from typing import IO
from faultlib.explore.finding import Campaign


def render(campaign: Campaign, stream: IO[str]) -> None:
    for f in campaign.findings:
        print(f"{f.severity}  {f.kind}: {f.title}", file=stream)
        for label, c in (("lost", f.lost), ("kept", f.kept)):
            if c:
                print(f"  {label:8}{c.text:60}  {c.place}", file=stream)
        print(f"  on      {', '.join(f.profiles)}\n  impact  {f.impact}\n  missing {f.missing}\n  states  {f.states}\n  replay  {f.replay}\n  test    {f.test_file}\n  symptom {f.symptom[-200:]!r}", file=stream)
    c = campaign
    print(f"{c.operations} operations, {c.states} states, {c.unique} unique, {c.judged} judged, {c.failing} failing, {c.seconds:.1f} s", c.strategies, c.not_covered, file=stream)
