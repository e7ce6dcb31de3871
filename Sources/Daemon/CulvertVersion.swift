// Which version this is.

/// The version of culvert.
public enum CulvertVersion {
    /// As in `0.1.0`; semver.org.
    public static let text = "0.1.0"
}
