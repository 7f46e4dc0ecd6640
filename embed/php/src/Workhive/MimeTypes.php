<?php

declare(strict_types=1);

namespace Workhive;

/** Types of files by the end of their names. */
final class MimeTypes
{
    public const UNKNOWN = 'application/octet-stream';

    private const TYPES = [
        'aac' => 'audio/aac', 'avif' => 'image/avif', 'bmp' => 'image/bmp', 'css' => 'text/css', 'csv' => 'text/csv', 'flac' => 'audio/flac',
        'gif' => 'image/gif', 'gz' => 'application/gzip', 'htm' => 'text/html;charset=utf-8', 'html' => 'text/html;charset=utf-8',
        'ico' => 'image/x-icon', 'ics' => 'text/calendar', 'jpeg' => 'image/jpeg', 'jpg' => 'image/jpeg', 'js' => 'application/javascript',
        'json' => 'application/json', 'jsonld' => 'application/ld+json', 'm4a' => 'audio/x-m4a', 'map' => 'application/json',
        'md' => 'text/markdown;charset=utf-8', 'mjs' => 'application/javascript', 'mp3' => 'audio/mpeg', 'mp4' => 'video/mp4',
        'mpeg' => 'video/mpeg', 'oga' => 'audio/ogg', 'ogg' => 'audio/ogg', 'ogv' => 'video/ogg', 'opus' => 'audio/opus', 'otf' => 'font/otf',
        'pdf' => 'application/pdf', 'png' => 'image/png', 'rss' => 'application/rss+xml', 'rtf' => 'application/rtf', 'svg' => 'image/svg+xml',
        'tar' => 'application/x-tar', 'tif' => 'image/tiff', 'tiff' => 'image/tiff', 'ttf' => 'font/ttf', 'txt' => 'text/plain;charset=utf-8',
        'wasm' => 'application/wasm', 'wav' => 'audio/wav', 'weba' => 'audio/webm', 'webm' => 'video/webm', 'webmanifest' => 'application/manifest+json',
        'webp' => 'image/webp', 'woff' => 'font/woff', 'woff2' => 'font/woff2', 'xhtml' => 'application/xhtml+xml', 'xml' => 'application/xml',
        'zip' => 'application/zip', '7z' => 'application/x-7z-compressed',
    ];

    public static function of(string $extension): string
    {
        return self::TYPES[strtolower($extension)] ?? self::UNKNOWN;
    }
}
