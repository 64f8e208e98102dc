"""The web demo: two models answer the same question side by side, in a browser. Needs ``xagent[demo]``.

- ``app.py`` is the page; ``conversation.py`` and ``sidebar.py`` are its parts, ``cards.py`` what a step looks like.
- ``visits.py`` keeps each visitor's state on the server, ``pane.py`` one model's side of a conversation.
- ``models.py`` and ``shelf.py`` hold what all visitors share: engines and tools.
"""
