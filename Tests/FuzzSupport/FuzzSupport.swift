// Brings what only fuzz targets use into the library that they are linked with: a channel without a socket.

@_exported public import NIOEmbedded
