"""How the embedded dataset is drawn and described; `toy_coco.py` writes it down in COCO's format.

drawing.py    brush and paper, and the map of which thing is where
animals.py    people and animals                     objects.py   vehicles, furniture, toys
kinds.py      the table of the twenty kinds          nature.py    beach, park, snow, lake, farm
settings.py   the table of the eight settings        clusters.py  which things go together
scenes.py     a whole scene: picture, truth, map     captions.py  what five annotators say of it
marks.py      holds any caption against the truth
"""
