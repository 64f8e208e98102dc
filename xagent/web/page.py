"""What ``xagent web`` lets Streamlit run, again and again: import nothing from here."""

from xagent.web.app import show

show()
