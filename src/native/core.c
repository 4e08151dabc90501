// The native core: AES-256-GCM over the segments of one stream, for src/native/core.ts, which is the only one to load it. It has no cipher of its own: it calls
// the OpenSSL that Node itself has and exports. What it saves over node:crypto is a cipher object for every segment and two copies of every byte.
//
// All calls are synchronous and keep no pointer into a buffer of JavaScript. Every argument is checked here, so that no caller can make it read or write
// outside the buffers that it is given. The key is in the context of OpenSSL alone, which cleanses it when it is freed.
#define NAPI_VERSION 8
#include <node_api.h>
#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

// Of OpenSSL 3 (EVP_EncryptInit(3)). Declared here, so that no headers of a certain version or platform are needed.
typedef struct evp_cipher_st EVP_CIPHER;
typedef struct evp_cipher_ctx_st EVP_CIPHER_CTX;
extern EVP_CIPHER *EVP_CIPHER_fetch(void *library, const char *algorithm, const char *properties);
extern void EVP_CIPHER_free(EVP_CIPHER *cipher);
extern EVP_CIPHER_CTX *EVP_CIPHER_CTX_new(void);
extern void EVP_CIPHER_CTX_free(EVP_CIPHER_CTX *context);
extern int EVP_CIPHER_CTX_ctrl(EVP_CIPHER_CTX *context, int type, int number, void *pointer);
extern int EVP_CipherInit_ex2(EVP_CIPHER_CTX *context, const EVP_CIPHER *cipher, const unsigned char *key, const unsigned char *iv, int sealing,
                              const void *params);
extern int EVP_CipherUpdate(EVP_CIPHER_CTX *context, unsigned char *out, int *written, const unsigned char *in, int length);
extern int EVP_CipherFinal_ex(EVP_CIPHER_CTX *context, unsigned char *out, int *written);
#define EVP_CTRL_AEAD_GET_TAG 0x10
#define EVP_CTRL_AEAD_SET_TAG 0x11

#define KEY_SIZE 32
#define NONCE_SIZE 12
#define TAG_SIZE 16

typedef struct {
  EVP_CIPHER_CTX *context;
  bool sealing;
  // A segment has begun and has not ended: OpenSSL would make up a nonce where none was given.
  bool begun;
} Stream;

typedef struct {
  uint8_t *bytes;
  size_t length;
} Bytes;

static napi_value fail(napi_env env, const char *message) {
  napi_throw_error(env, NULL, message);
  return NULL;
}

static void free_stream(napi_env env, void *data, void *hint) {
  (void)env;
  (void)hint;
  Stream *stream = data;
  EVP_CIPHER_CTX_free(stream->context);
  free(stream);
}

static void free_cipher(napi_env env, void *data, void *hint) {
  (void)env;
  (void)hint;
  EVP_CIPHER_free(data);
}

static bool take_arguments(napi_env env, napi_callback_info info, size_t wanted, napi_value *arguments) {
  size_t count = wanted;
  return napi_get_cb_info(env, info, &count, arguments, NULL, NULL) == napi_ok && count >= wanted;
}

static bool take_bytes(napi_env env, napi_value value, Bytes *bytes) {
  bool is_buffer = false;
  if (napi_is_buffer(env, value, &is_buffer) != napi_ok || !is_buffer) return false;
  void *data = NULL;
  if (napi_get_buffer_info(env, value, &data, &bytes->length) != napi_ok) return false;
  bytes->bytes = data;
  return true;
}

/** A whole number of 0 to 2^32 - 1. */
static bool take_number(napi_env env, napi_value value, size_t *number) {
  double given = -1;
  if (napi_get_value_double(env, value, &given) != napi_ok || !(given >= 0 && given <= UINT32_MAX)) return false;
  *number = (size_t)given;
  return (double)*number == given;
}

static Stream *take_stream(napi_env env, napi_value value) {
  void *data = NULL;
  napi_valuetype type = napi_undefined;
  if (napi_typeof(env, value, &type) != napi_ok || type != napi_external) return NULL;
  return napi_get_value_external(env, value, &data) == napi_ok ? data : NULL;
}

static bool has_room(Bytes bytes, size_t at, size_t length) {
  return at <= bytes.length && length <= bytes.length - at;
}

/** create(key, sealing): a context for the segments of one stream. */
static napi_value create(napi_env env, napi_callback_info info) {
  napi_value arguments[2];
  Bytes key;
  bool sealing = false;
  if (!take_arguments(env, info, 2, arguments) || !take_bytes(env, arguments[0], &key) || key.length != KEY_SIZE ||
      napi_get_value_bool(env, arguments[1], &sealing) != napi_ok) {
    return fail(env, "create(key of 32 bytes, sealing)");
  }
  void *cipher = NULL;
  if (napi_get_instance_data(env, &cipher) != napi_ok || cipher == NULL) return fail(env, "no cipher");
  Stream *stream = calloc(1, sizeof *stream);
  if (stream == NULL) return fail(env, "no memory");
  stream->sealing = sealing;
  stream->context = EVP_CIPHER_CTX_new();
  napi_value handle = NULL;
  if (stream->context == NULL || EVP_CipherInit_ex2(stream->context, cipher, key.bytes, NULL, sealing ? 1 : 0, NULL) != 1 ||
      napi_create_external(env, stream, free_stream, NULL, &handle) != napi_ok) {
    free_stream(env, stream, NULL);
    return fail(env, "no context");
  }
  return handle;
}

/** begin(stream, nonce): a segment. One that has begun before is given up. */
static napi_value begin(napi_env env, napi_callback_info info) {
  napi_value arguments[2];
  Bytes nonce;
  Stream *stream = NULL;
  if (!take_arguments(env, info, 2, arguments) || (stream = take_stream(env, arguments[0])) == NULL || !take_bytes(env, arguments[1], &nonce) ||
      nonce.length != NONCE_SIZE) {
    return fail(env, "begin(stream, nonce of 12 bytes)");
  }
  stream->begun = EVP_CipherInit_ex2(stream->context, NULL, NULL, nonce.bytes, -1, NULL) == 1;
  return stream->begun ? NULL : fail(env, "begin");
}

/** update(stream, input, from, length, output, at): `length` bytes, which go to the same place or to one that does not overlap. */
static napi_value update(napi_env env, napi_callback_info info) {
  napi_value arguments[6];
  Bytes input;
  Bytes output;
  Stream *stream = NULL;
  size_t from = 0;
  size_t length = 0;
  size_t at = 0;
  if (!take_arguments(env, info, 6, arguments) || (stream = take_stream(env, arguments[0])) == NULL || !take_bytes(env, arguments[1], &input) ||
      !take_number(env, arguments[2], &from) || !take_number(env, arguments[3], &length) || !take_bytes(env, arguments[4], &output) ||
      !take_number(env, arguments[5], &at)) {
    return fail(env, "update(stream, input, from, length, output, at)");
  }
  if (!has_room(input, from, length) || !has_room(output, at, length) || length > INT_MAX) return fail(env, "update: outside of a buffer");
  if (!stream->begun) return fail(env, "update: no segment has begun");
  if (length == 0) return NULL;
  const uint8_t *source = input.bytes + from;
  uint8_t *target = output.bytes + at;
  uintptr_t apart = (uintptr_t)source > (uintptr_t)target ? (uintptr_t)source - (uintptr_t)target : (uintptr_t)target - (uintptr_t)source;
  if (apart != 0 && apart < length) return fail(env, "update: input and output overlap");
  int written = 0;
  if (EVP_CipherUpdate(stream->context, target, &written, source, (int)length) != 1 || written != (int)length) {
    stream->begun = false;
    return fail(env, "update");
  }
  return NULL;
}

/** tag(stream, output, at): ends a segment that is sealed, and writes its tag. */
static napi_value tag(napi_env env, napi_callback_info info) {
  napi_value arguments[3];
  Bytes output;
  Stream *stream = NULL;
  size_t at = 0;
  if (!take_arguments(env, info, 3, arguments) || (stream = take_stream(env, arguments[0])) == NULL || !take_bytes(env, arguments[1], &output) ||
      !take_number(env, arguments[2], &at) || !has_room(output, at, TAG_SIZE)) {
    return fail(env, "tag(stream, output with 16 bytes, at)");
  }
  if (!stream->begun || !stream->sealing) return fail(env, "tag: no segment is being sealed");
  stream->begun = false;
  unsigned char none[TAG_SIZE];
  int written = 0;
  if (EVP_CipherFinal_ex(stream->context, none, &written) != 1 || written != 0 ||
      EVP_CIPHER_CTX_ctrl(stream->context, EVP_CTRL_AEAD_GET_TAG, TAG_SIZE, output.bytes + at) != 1) {
    return fail(env, "tag");
  }
  return NULL;
}

/** verify(stream, tag): ends a segment that is opened. Returns whether the tag is that of its bytes. */
static napi_value verify(napi_env env, napi_callback_info info) {
  napi_value arguments[2];
  Bytes given;
  Stream *stream = NULL;
  if (!take_arguments(env, info, 2, arguments) || (stream = take_stream(env, arguments[0])) == NULL || !take_bytes(env, arguments[1], &given) ||
      given.length != TAG_SIZE) {
    return fail(env, "verify(stream, tag of 16 bytes)");
  }
  if (!stream->begun || stream->sealing) return fail(env, "verify: no segment is being opened");
  stream->begun = false;
  unsigned char none[TAG_SIZE];
  int written = 0;
  if (EVP_CIPHER_CTX_ctrl(stream->context, EVP_CTRL_AEAD_SET_TAG, TAG_SIZE, given.bytes) != 1) return fail(env, "verify");
  bool verified = EVP_CipherFinal_ex(stream->context, none, &written) == 1;
  napi_value answer = NULL;
  if (napi_get_boolean(env, verified, &answer) != napi_ok) return fail(env, "verify");
  return answer;
}

static bool add(napi_env env, napi_value exports, const char *name, napi_callback function) {
  napi_value value = NULL;
  return napi_create_function(env, name, NAPI_AUTO_LENGTH, function, NULL, &value) == napi_ok &&
         napi_set_named_property(env, exports, name, value) == napi_ok;
}

// Which source this was made from (.ci/native.ts); a package with another binary is refused.
#ifndef SOURCE
#define SOURCE ""
#endif
__attribute__((used)) static const char made_from[] = "sealgate-native-core " SOURCE;

NAPI_MODULE_INIT() {
  EVP_CIPHER *cipher = EVP_CIPHER_fetch(NULL, "AES-256-GCM", NULL);
  if (cipher == NULL) return fail(env, "OpenSSL has no AES-256-GCM");
  if (napi_set_instance_data(env, cipher, free_cipher, NULL) != napi_ok) {
    EVP_CIPHER_free(cipher);
    return fail(env, "no instance");
  }
  bool complete = add(env, exports, "create", create) && add(env, exports, "begin", begin) && add(env, exports, "update", update) &&
                  add(env, exports, "tag", tag) && add(env, exports, "verify", verify);
  return complete ? exports : fail(env, "no exports");
}
