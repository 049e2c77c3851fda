"""What migration and retype share: a volume that is not in use goes to another pool, by its driver or by a copy.

Within a host:

    submit   the row of its second place (model/entities.Move): room is promised at both, quotas count the volume once
    move     its driver moves it, where it can; what follows up to the switch is for where it cannot
    create   an object of zeros at the destination, under the volume's id
    copy     its bytes, with a journal, so that a copy that was interrupted goes on
    switch   the volume and its second place change their places, in one transaction; before it everything is undone by
             a cancel or a failure, from it on the operation goes forward only
    finish   the destination's driver finalizes the object
    remove   the object at the source

Between two hosts the source's pushes the bytes into an export of the destination's:

    create, serve        at the destination: the object, and an export of it for this move
    copy                 at the source
    unserve              at the destination: the export ends
    switch, finish       at the destination; from here on the operation belongs to that host
    remove               at the source

steps.py has the list, a file each what one of them does and how that is undone. A source that cannot be removed keeps its
row, and with it its room, and is removed later (left.py).
"""
