"""Films: the finished videos of scenes, joined to one video with chapters and subtitles."""
