// swift-tools-version: 6.2
import PackageDescription

/// Every target is compiled with these; `unsafe` code has to be marked, and an unmarked use is an error.
let strict: [SwiftSetting] = [
    .strictMemorySafety(),
    .treatWarning("StrictMemorySafety", as: .error),
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("InternalImportsByDefault"),
    .enableUpcomingFeature("MemberImportVisibility"),
    // The cores are generic over their seams; this lets the daemon specialise them for the one engine it has.
    .unsafeFlags(["-cross-module-optimization"], .when(configuration: .release)),
]

/// For what measures the cores as the daemon has them.
let optimised: [SwiftSetting] = [.unsafeFlags(["-cross-module-optimization"], .when(configuration: .release))]

/// For the targets that hand out spans of memory they own.
let lifetimes: [SwiftSetting] = strict + [.enableExperimentalFeature("Lifetimes")]

let package = Package(
    name: "culvert",
    products: [
        .executable(name: "culvert", targets: ["culvert"]),
        .executable(name: "culvert-impair", targets: ["culvert-impair"]),
        .executable(name: "culvert-bench", targets: ["culvert-bench"]),
        .library(
            name: "Fuzzed", type: .static,
            targets: ["Wire", "Containers", "Settings", "DTLS", "Tunnel", "Configuration", "Control", "FuzzSupport"]),
    ],
    dependencies: [
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.0"),
        .package(url: "https://github.com/apple/swift-collections", from: "1.6.0"),
        .package(url: "https://github.com/apple/swift-log", from: "1.16.0"),
        .package(url: "https://github.com/apple/swift-nio", from: "2.101.0"),
    ],
    targets: [
        .systemLibrary(
            name: "COpenSSL", pkgConfig: "openssl", providers: [.apt(["libssl-dev"])]),
        .target(name: "CLinux"),
        .target(name: "CTOML", cxxSettings: [.unsafeFlags(["-std=c++17"])]),

        .target(name: "Wire", swiftSettings: lifetimes),
        .target(name: "Impairment", swiftSettings: strict),
        .target(name: "Containers", swiftSettings: strict),
        .target(name: "Settings", dependencies: ["Wire"], swiftSettings: strict),
        .target(
            name: "DTLS",
            dependencies: [
                "Wire", "Settings", .product(name: "ContainersPreview", package: "swift-collections"),
            ],
            swiftSettings: strict),
        .target(name: "OpenSSL", dependencies: ["COpenSSL", "Wire", "DTLS"], swiftSettings: lifetimes),
        .target(
            name: "Tunnel",
            dependencies: [
                "Containers", "Wire", "Settings", "DTLS", .product(name: "HeapModule", package: "swift-collections"),
                .product(name: "ContainersPreview", package: "swift-collections"),
                .product(name: "DequeModule", package: "swift-collections"),
            ],
            swiftSettings: strict),
        .target(name: "LinuxIO", dependencies: ["CLinux", "Wire"], swiftSettings: lifetimes),
        .target(name: "Configuration", dependencies: ["CTOML", "Wire", "Settings"], swiftSettings: strict),
        .target(
            name: "Control",
            dependencies: [
                .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "NIOPosix", package: "swift-nio"),
                .product(name: "NIOHTTP1", package: "swift-nio"),
            ],
            resources: [.embedInCode("Resources")],
            swiftSettings: strict),
        .target(
            name: "Daemon",
            dependencies: [
                "Containers", "Wire", "Settings", "DTLS", "OpenSSL", "Tunnel", "LinuxIO", "Configuration", "Control",
                .product(name: "Logging", package: "swift-log"),
            ],
            swiftSettings: strict),

        .executableTarget(
            name: "culvert",
            dependencies: [
                "Daemon", "Configuration", "Control", "OpenSSL", "LinuxIO",
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
            ],
            swiftSettings: strict),
        .executableTarget(
            name: "culvert-impair",
            dependencies: [
                "Impairment", "LinuxIO", "Wire",
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
            ],
            swiftSettings: strict),
        .executableTarget(
            name: "culvert-bench",
            dependencies: [
                "Control", "DTLS", "LinuxIO", "OpenSSL", "Wire",
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
            ],
            swiftSettings: strict),

        .target(name: "CVirtualTime", path: "Tests/CVirtualTime"),
        .executableTarget(name: "refuse-call", path: "Tests/RefuseCall"),
        .target(name: "CCounting", path: "Tests/CCounting"),
        // Not a program for users: scripts/count-data-path runs it.
        .executableTarget(
            name: "datapath-count",
            dependencies: [
                "CCounting", "DTLS", "OpenSSL", "Settings", "Tunnel", "Wire",
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
            ],
            path: "Tests/DataPathCount", swiftSettings: optimised),
        .target(
            name: "FuzzSupport", dependencies: [.product(name: "NIOEmbedded", package: "swift-nio")],
            path: "Tests/FuzzSupport"),
        .target(name: "TestSupport", dependencies: ["Wire"], path: "Tests/TestSupport"),
        .testTarget(name: "WireTests", dependencies: ["Wire"]),
        .testTarget(name: "DTLSTests", dependencies: ["Wire", "Settings", "DTLS"]),
        .testTarget(name: "TunnelTests", dependencies: ["Wire", "Settings", "DTLS", "Tunnel"]),
        .testTarget(name: "ImpairmentTests", dependencies: ["Impairment"]),
        .testTarget(name: "LinuxIOTests", dependencies: ["LinuxIO", "Wire", "TestSupport"]),
        .testTarget(name: "ConfigurationTests", dependencies: ["Configuration", "Settings", "Wire"]),
        .testTarget(name: "OpenSSLTests", dependencies: ["OpenSSL", "DTLS", "Wire", "CVirtualTime"]),
        .testTarget(
            name: "ControlTests",
            dependencies: [
                "Control", "DTLS", "TestSupport",
                .product(name: "NIOCore", package: "swift-nio"), .product(name: "NIOPosix", package: "swift-nio"),
            ]),
        .testTarget(
            name: "DaemonTests",
            dependencies: [
                "Daemon", "Control", "Configuration", "LinuxIO", "OpenSSL", "Tunnel", "DTLS", "Settings", "Wire",
                "TestSupport",
                .product(name: "Logging", package: "swift-log"),
            ]),
        .testTarget(
            name: "SimulatorTests",
            dependencies: ["Wire", "Settings", "DTLS", "OpenSSL", "Tunnel", "Impairment", "CVirtualTime"]),
        .testTarget(name: "KeysCommandTests", dependencies: ["culvert"]),
        .testTarget(name: "CommandTests", dependencies: ["culvert", "Control", "TestSupport"]),
        .testTarget(name: "ImpairTests", dependencies: ["culvert-impair", "LinuxIO", "Wire"]),
        .testTarget(name: "BenchTests", dependencies: ["culvert-bench", "Wire"]),
        .testTarget(name: "InteropTests", dependencies: ["TestSupport", "Control", "culvert", "culvert-impair"]),
        .testTarget(
            name: "EndToEndTests",
            dependencies: ["TestSupport", "Control", "Wire", "culvert", "culvert-impair", "refuse-call"]),
    ]
)
