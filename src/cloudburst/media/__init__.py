"""Rules about pictures, sound, fonts and subtitles, which clients and workers share."""
