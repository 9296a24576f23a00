"""A text to compare models on where the user gives none: reasoning, prose, code, about 1,500
tokens."""

TEXT = """\
Question: A bakery sells rolls in bags of 6 and buns in boxes of 4. On Monday it sold 15 bags of
rolls and 22 boxes of buns. On Tuesday it sold a third fewer bags, but twice as many boxes. How many
pieces did it sell on both days together?

Let me work through this step by step. On Monday the bakery sold 15 bags with 6 rolls each, which is
15 * 6 = 90 rolls. It also sold 22 boxes with 4 buns each, so 22 * 4 = 88 buns. Together that makes
90 + 88 = 178 pieces on Monday.

On Tuesday it sold a third fewer bags. A third of 15 is 5, so 15 - 5 = 10 bags, and 10 * 6 = 60
rolls. It sold twice as many boxes: 2 * 22 = 44 boxes, and 44 * 4 = 176 buns. That is 60 + 176 = 236
pieces on Tuesday.

Wait, let me check the part about "a third fewer". It could also be read as a third of the bags, but
the sentence says fewer, so two thirds are left, and 10 is right. For both days I get 178 + 236 =
414. Final answer: 414.

Question: Anna is twice as old as Ben was when Anna was as old as Ben is now. Anna is 24. How old is
Ben?

Let Ben be b years old now. The difference of their ages is 24 - b and never changes. When Anna was
b years old, Ben was b - (24 - b) = 2b - 24. Anna's age now is twice that, so 24 = 2 * (2b - 24) =
4b - 48. Then 4b = 72, and b = 18. To be sure: six years ago Anna was 18, and Ben was 12. Twice 12
is 24, which is Anna's age now. Final answer: 18.

The lighthouse stood on a rock that was an island at high tide and a hill at low tide. For thirty
years the same man had climbed its stairs each evening, a hundred and twelve steps, and had written
down the wind, the sight and the names of the ships. When the lamp was made to light itself, nobody
told him to leave, and so he stayed. He mended nets for the people of the village, taught their
children to read the sky, and in the winter, when the road was under water for days, he was the only
one who saw the sea as it was when no one looked at it.

One morning in March he found a bird in the lantern room. It was small and grey, with a white bar on
each wing, and it had flown in through a pane that the storm had broken. He knew most birds of that
coast, but not this one. He gave it water in the lid of a jar and waited. By noon it ate crumbs. By
evening it sat on the rail outside, turned its head once towards the land and once towards the sea,
and chose the sea.

Heat flows from warm to cold. A refrigerator makes it go the other way, and that has its price. A
liquid that boils far below the freezing point of water is led through a pipe inside the cold room,
where it evaporates and takes heat with it. Outside, a pump presses the vapour together until it is
warmer than the kitchen; there it gives its heat away and becomes liquid again. The electricity that
drives the pump is turned into heat as well, so a kitchen with an open refrigerator grows warmer,
not colder.

def longest_run(values):
    \"\"\"The length of the longest stretch of equal neighbours.\"\"\"
    best = run = 0
    last = object()
    for value in values:
        run = run + 1 if value == last else 1
        best = max(best, run)
        last = value
    return best

The function walks over the list once. It compares each value with the one before; if both are
equal, the run grows by one, otherwise it starts again at one. After [1, 1, 2, 2, 2, 3] the best run
is 3. For an empty list the loop never runs, and the answer is 0.

Question: All cats in the yard are black or old. No old cat climbs the tree. Mia is a cat in the
yard and climbs the tree. What colour is Mia?

First, Mia is a cat in the yard, so she is black, or old, or both. Second, no old cat climbs the
tree, but Mia does, so she is not old. What remains is that she is black. Could she be neither? No,
because every cat in the yard is one of the two. Final answer: black.

Things to do before the boat is put into the water:
1. Check the hull for cracks, most of all along the keel.
2. Turn the engine by hand; if it sticks, do not force it.
3. Charge the battery, and write the date on it.
4. Count the life jackets. There must be one for every person, and two for children.
5. Tell somebody on land when you mean to be back.

Question: A tank holds 240 litres. A pump fills it at 12 litres a minute, while a leak loses 2
litres a minute. After 10 minutes the leak is closed. How long does it take to fill the tank from
empty?

In the first 10 minutes the water rises by 12 - 2 = 10 litres each minute, so there are 100 litres
in the tank. 240 - 100 = 140 litres are missing. Without the leak the pump needs 140 / 12 = 11 and
2/3 minutes for them, which is 11 minutes and 40 seconds. Together with the first 10 minutes this
makes 21 minutes and 40 seconds. Final answer: 21 minutes and 40 seconds.
"""
