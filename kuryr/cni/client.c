// SPDX-License-Identifier: Apache-2.0
/*
 * kuryr-cni, compiled: the same as client.py, which says what goes over the wire, and without an interpreter to
 * start: a node that starts many pods at once has no processor time to spare. kuryr.cni.install compiles it where
 * there is a C compiler. Tests run both by the same cases.
 */
#define _GNU_SOURCE
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#define WIRE_VERSION 1
#define DEFAULT_SOCKET "/run/kuryr/kuryr-daemon.sock"
#define SOCKET_VARIABLE "KURYR_DAEMON_SOCKET"
#define FIRST_VERSION "0.1.0"
#define LAST_VERSION "1.1.0"
#define SUPPORTED_VERSIONS "\"" FIRST_VERSION "\", \"0.2.0\", \"0.3.0\", \"0.3.1\", \"0.4.0\", \"1.0.0\", \"" LAST_VERSION "\""

/* Seconds. The daemon ends every request well before this; only a daemon that hangs gets here. */
#define TIMEOUT 230

enum { TRY_AGAIN = 11, NOT_AVAILABLE = 50 };

extern char **environ;

/* Bytes that grow; always followed by a NUL that is not counted. */
struct bytes {
    char *data;
    size_t size, room;
};

static void append(struct bytes *to, const void *data, size_t size)
{
    if (to->size + size + 1 > to->room) {
        to->room = 2 * to->room + size + 4096;
        to->data = realloc(to->data, to->room);
        if (to->data == NULL) {
            static const char message[] = "kuryr-cni: out of memory\n";
            if (write(STDERR_FILENO, message, sizeof message - 1) < 0)
                _exit(2);
            _exit(1);
        }
    }
    if (size > 0)
        memcpy(to->data + to->size, data, size);
    to->size += size;
    to->data[to->size] = '\0';
}

static void append_text(struct bytes *to, const char *text)
{
    append(to, text, strlen(text));
}

static void append_block(struct bytes *to, const struct bytes *block)
{
    uint32_t size = block->size;
    unsigned char header[] = {size >> 24, size >> 16, size >> 8, size};
    append(to, header, sizeof header);
    append(to, block->data, block->size);
}

/* As a JSON string. */
static void append_quoted(struct bytes *to, const char *text)
{
    append_text(to, "\"");
    for (; *text != '\0'; text++) {
        char escaped[8];
        if ((unsigned char)*text < 0x20 || *text == '"' || *text == '\\') {
            snprintf(escaped, sizeof escaped, "\\u%04x", (unsigned char)*text);
            append_text(to, escaped);
        } else {
            append(to, text, 1);
        }
    }
    append_text(to, "\"");
}

/* All that can be read; false, with errno, where that fails. */
static bool read_all(int fd, struct bytes *to)
{
    char chunk[65536];
    append(to, NULL, 0);
    for (;;) {
        ssize_t got = read(fd, chunk, sizeof chunk);
        if (got == 0)
            return true;
        if (got > 0)
            append(to, chunk, got);
        else if (errno != EINTR)
            return false;
    }
}

static void write_all(int fd, const char *data, size_t size)
{
    while (size > 0) {
        ssize_t written = write(fd, data, size);
        if (written < 0) {
            if (errno == EINTR)
                continue;
            _exit(1); /* whoever started this does not listen any more */
        }
        data += written;
        size -= written;
    }
}

static void append_utf8(struct bytes *to, uint32_t code)
{
    unsigned char encoded[4];
    size_t size;
    if (code < 0x80) {
        encoded[0] = code;
        size = 1;
    } else if (code < 0x800) {
        encoded[0] = 0xC0 | code >> 6;
        size = 2;
    } else if (code < 0x10000) {
        encoded[0] = 0xE0 | code >> 12;
        size = 3;
    } else {
        encoded[0] = 0xF0 | code >> 18;
        size = 4;
    }
    for (size_t i = 1; i < size; i++)
        encoded[i] = 0x80 | (code >> 6 * (size - 1 - i) & 0x3F);
    append(to, encoded, size);
}

/* The four hexadecimal digits at text, or -1. */
static long unit(const char *text, const char *end)
{
    long value = 0;
    for (int i = 0; i < 4; i++, text++) {
        if (text >= end || !isxdigit((unsigned char)*text))
            return -1;
        value = value * 16 + (isdigit((unsigned char)*text) ? *text - '0' : tolower(*text) - 'a' + 10);
    }
    return value;
}

/* What stands between the quotes of a JSON string; empty where that is not well-formed, which the daemon will tell. */
static struct bytes unescape(const char *text, const char *end)
{
    static const char letters[] = "\"\\/bfnrt", meanings[] = "\"\\/\b\f\n\r\t";
    struct bytes value = {0};
    append(&value, NULL, 0);
    while (text < end) {
        if (*text != '\\') {
            append(&value, text++, 1);
            continue;
        }
        const char *letter = ++text < end && *text != '\0' ? strchr(letters, *text) : NULL;
        if (letter != NULL) {
            append(&value, &meanings[letter - letters], 1);
            text++;
            continue;
        }
        long code = text < end && *text == 'u' ? unit(text + 1, end) : -1;
        if (code > 0)
            text += 5;
        if (code >= 0xD800 && code < 0xDC00 && end - text >= 6 && text[0] == '\\' && text[1] == 'u') {
            long low = unit(text + 2, end);
            code = low >= 0xDC00 && low < 0xE000 ? 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00) : -1;
            text += 6;
        }
        if (code <= 0 || (code >= 0xD800 && code < 0xE000)) {
            value.size = 0;
            value.data[0] = '\0';
            break;
        }
        append_utf8(&value, code);
    }
    return value;
}

/* Where the string that begins at the quote at text has its last quote, or the document its end. */
static const char *string_end(const char *text, const char *end)
{
    for (text++; text < end && *text != '"'; text++)
        if (*text == '\\')
            text++;
    return text < end ? text : end;
}

static const char *skip_spaces(const char *text, const char *end)
{
    while (text < end && isspace((unsigned char)*text))
        text++;
    return text;
}

/* The string that a JSON object has under key at its top level, or "". */
static char *top_level_string(const struct bytes *document, const char *key)
{
    const char *end = document->data + document->size;
    int depth = 0;
    for (const char *at = document->data; at < end; at++) {
        if (*at == '{' || *at == '[')
            depth++;
        else if (*at == '}' || *at == ']')
            depth--;
        if (*at != '"')
            continue;
        const char *last = string_end(at, end);
        if (depth == 1) {
            struct bytes name = unescape(at + 1, last);
            bool found = strcmp(name.data, key) == 0;
            free(name.data);
            const char *value = skip_spaces(last < end ? last + 1 : end, end);
            if (found && value < end && *value == ':') {
                value = skip_spaces(value + 1, end);
                if (value < end && *value == '"')
                    return unescape(value + 1, string_end(value, end)).data;
            }
        }
        at = last;
    }
    return unescape(end, end).data;
}

/* Cut white space off both ends, in place. */
static char *strip(char *text)
{
    while (isspace((unsigned char)*text))
        text++;
    size_t size = strlen(text);
    while (size > 0 && isspace((unsigned char)text[size - 1]))
        size--;
    text[size] = '\0';
    return text;
}

/* Value of [cni_daemon] socket_path in a configuration file, or "". */
static char *socket_option(const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return ""; /* a node may have the executable and no kuryr.conf */
    struct bytes text = {0};
    bool whole = read_all(fd, &text);
    close(fd);
    if (!whole)
        return "";
    bool ours = false;
    char *value = "", *rest = text.data, *line;
    while ((line = strsep(&rest, "\r\n")) != NULL) {
        line = strip(line);
        if (*line == '[') {
            ours = strcmp(line, "[cni_daemon]") == 0;
        } else if (ours && *line != '#' && *line != ';') {
            char *option = strchr(line, '=');
            if (option == NULL)
                continue;
            *option++ = '\0';
            if (strcmp(strip(line), "socket_path") == 0)
                value = strip(option);
        }
    }
    return value;
}

/* Where kuryr-daemon listens: the network configuration, the environment, kuryr.conf, the default. */
static const char *socket_path(const struct bytes *netconf)
{
    const char *path = top_level_string(netconf, "socket");
    if (*path == '\0' && (path = getenv(SOCKET_VARIABLE)) == NULL)
        path = "";
    if (*path == '\0')
        path = socket_option(top_level_string(netconf, "kuryr_conf"));
    return *path != '\0' ? path : DEFAULT_SOCKET;
}

/* Connected to the daemon, or -1 with errno. */
static int connect_to(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct timeval timeout = {.tv_sec = TIMEOUT};
    if (strlen(path) >= sizeof address.sun_path) {
        errno = ENAMETOOLONG;
        return -1;
    }
    strcpy(address.sun_path, path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof timeout);
    if (connect(fd, (struct sockaddr *)&address, sizeof address) != 0)
        return -1;
    return fd;
}

static bool send_all(int fd, const struct bytes *request)
{
    for (size_t sent = 0; sent < request->size;) {
        ssize_t part = send(fd, request->data + sent, request->size - sent, MSG_NOSIGNAL);
        if (part >= 0)
            sent += part;
        else if (errno != EINTR)
            return false;
    }
    return true;
}

static size_t number(const char *data)
{
    const unsigned char *octets = (const unsigned char *)data;
    return (size_t)octets[0] << 24 | octets[1] << 16 | octets[2] << 8 | octets[3];
}

/* Prints what the daemon answers; its exit code, or -1 with what is wrong in cause. */
static int ask(const char *path, const struct bytes *netconf, char *cause, size_t room)
{
    struct bytes variables = {0}, request = {0}, reply = {0};
    for (char **entry = environ; *entry != NULL; entry++) {
        if (strncmp(*entry, "CNI_", 4) != 0)
            continue;
        if (variables.size > 0)
            append(&variables, "", 1);
        append_text(&variables, *entry);
    }
    append(&request, (unsigned char[]){WIRE_VERSION}, 1);
    append_block(&request, &variables);
    append_block(&request, netconf);
    int fd = connect_to(path);
    if (fd < 0 || !send_all(fd, &request) || !read_all(fd, &reply)) {
        snprintf(cause, room, "%s", errno == EAGAIN ? "timed out" : strerror(errno));
        return -1;
    }
    if (reply.size > 0 && reply.data[0] != WIRE_VERSION) {
        snprintf(cause, room, "kuryr-daemon speaks version %d of the protocol, this executable %d",
                 (unsigned char)reply.data[0], WIRE_VERSION);
        return -1;
    }
    size_t out = reply.size >= 10 ? number(reply.data + 2) : 0;
    if (reply.size < 10 || reply.size - 10 < out || reply.size - 10 - out != number(reply.data + 6 + out)) {
        snprintf(cause, room, "kuryr-daemon ended the connection without a whole answer");
        return -1;
    }
    write_all(STDERR_FILENO, reply.data + 10 + out, reply.size - 10 - out);
    write_all(STDOUT_FILENO, reply.data + 6, out);
    return (unsigned char)reply.data[1];
}

static void print_version(const struct bytes *netconf)
{
    struct bytes text = {0};
    const char *version = top_level_string(netconf, "cniVersion");
    append_text(&text, "{\"cniVersion\": ");
    append_quoted(&text, *version != '\0' ? version : LAST_VERSION);
    append_text(&text, ", \"supportedVersions\": [" SUPPORTED_VERSIONS "]}\n");
    write_all(STDOUT_FILENO, text.data, text.size);
}

static void print_failure(const struct bytes *netconf, int code, const char *path, const char *cause)
{
    struct bytes text = {0}, message = {0};
    char between[32];
    const char *version = top_level_string(netconf, "cniVersion");
    append_text(&message, "kuryr-daemon does not answer on ");
    append_text(&message, path);
    append_text(&message, ": start kuryr-daemon on this node");
    append_text(&text, "{\"cniVersion\": ");
    append_quoted(&text, *version != '\0' ? version : FIRST_VERSION);
    snprintf(between, sizeof between, ", \"code\": %d, \"msg\": ", code);
    append_text(&text, between);
    append_quoted(&text, message.data);
    append_text(&text, ", \"details\": ");
    append_quoted(&text, cause);
    append_text(&text, "}\n");
    write_all(STDOUT_FILENO, text.data, text.size);
}

int main(void)
{
    const char *command = getenv("CNI_COMMAND");
    struct bytes netconf = {0};
    if ((command == NULL || *command == '\0') && isatty(STDIN_FILENO)) {
        fputs("kuryr-cni is a CNI plugin: container runtimes start it, with CNI_COMMAND in the environment.\n", stderr);
        return 1;
    }
    if (command == NULL)
        command = "";
    if (!read_all(STDIN_FILENO, &netconf)) {
        fprintf(stderr, "kuryr-cni: standard input: %s\n", strerror(errno));
        return 1;
    }
    if (strcmp(command, "VERSION") == 0) {
        print_version(&netconf);
        return 0;
    }
    const char *path = socket_path(&netconf);
    char cause[256];
    int code = ask(path, &netconf, cause, sizeof cause);
    if (code >= 0)
        return code;
    print_failure(&netconf, strcmp(command, "STATUS") == 0 ? NOT_AVAILABLE : TRY_AGAIN, path, cause);
    return 1;
}
