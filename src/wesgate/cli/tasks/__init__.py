"""For people: tasks on any TES server, submitted, watched and stopped (`wesgate task`)."""
