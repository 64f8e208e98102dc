"""The web demo: streamlit run tools/agent_web_demo.py [MODEL] [-- --compare BASE --adapter DIR ...]

`xagent web` is the same with fewer keystrokes. docs/web-demo.md describes the page.
"""

from xagent.web.app import show

show()
