"""The text of a book of OpenStax, titles and paragraphs in the order of the modules' names, for `text_loss`. A title within
a paragraph appears in both.

    python bench/openstax_text.py FOLDER_OF_MODULES > TEXT
"""

import pathlib
import sys
import xml.etree.ElementTree as tree

WANTED = {"title", "para"}

for file in sorted(pathlib.Path(sys.argv[1]).glob("*.cnxml")):
    for node in tree.parse(file).getroot().iter():
        if node.tag.rsplit("}", 1)[-1] in WANTED:
            words = " ".join("".join(node.itertext()).split())
            if words:
                print(words)
    print()
