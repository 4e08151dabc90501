// The native core: AES-256-GCM over the segments of one stream, what the envelope of a small object needs, and one call of the C library, for
// src/native/core.ts, which is the only one to load it. It has no cipher of its own: it calls the OpenSSL that Node itself has and exports. What it saves over
// node:crypto is a cipher object for every segment, two copies of every byte, and a job for every derived key.
//
// All calls are synchronous and keep no pointer into a buffer of JavaScript. Every argument is checked here, so that no caller can make it read or write
// outside the buffers that it is given. The key is in the context of OpenSSL alone, which cleanses it when it is freed.
#define NAPI_VERSION 8
#include <node_api.h>
#include <limits.h>
#include <malloc.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

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
extern int EVP_CIPHER_CTX_reset(EVP_CIPHER_CTX *context);
extern void OPENSSL_cleanse(void *bytes, size_t length);
// EVP_DigestInit(3), RAND_bytes(3).
typedef struct evp_md_st EVP_MD;
typedef struct evp_md_ctx_st EVP_MD_CTX;
extern EVP_MD *EVP_MD_fetch(void *library, const char *algorithm, const char *properties);
extern void EVP_MD_free(EVP_MD *digest);
extern EVP_MD_CTX *EVP_MD_CTX_new(void);
extern void EVP_MD_CTX_free(EVP_MD_CTX *context);
extern int EVP_DigestInit_ex2(EVP_MD_CTX *context, const EVP_MD *digest, const void *params);
extern int EVP_DigestUpdate(EVP_MD_CTX *context, const void *bytes, size_t length);
extern int EVP_DigestFinal_ex(EVP_MD_CTX *context, unsigned char *digest, unsigned int *length);
extern int RAND_bytes(unsigned char *bytes, int length);
#define EVP_CTRL_AEAD_GET_TAG 0x10
#define EVP_CTRL_AEAD_SET_TAG 0x11

#define KEY_SIZE 32
#define NONCE_SIZE 12
#define TAG_SIZE 16
#define HASH_SIZE 32
#define BLOCK_SIZE 64
// Of one derivation: RFC 5869 allows 255 times the hash, and the gateway needs one.
#define MOST_DERIVED HASH_SIZE
// A longer one would be hashed first (RFC 2104, 2); the format has none.
#define MOST_SALT BLOCK_SIZE
#define MOST_INFO 1024

// Of one environment of Node: its main thread, or a worker.
typedef struct {
  EVP_CIPHER *cipher;
  EVP_MD *sha256;
  // Both hold no secret between two calls.
  EVP_CIPHER_CTX *once;
  EVP_MD_CTX *hash;
} Instance;

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

static void free_instance(napi_env env, void *data, void *hint) {
  (void)env;
  (void)hint;
  Instance *instance = data;
  EVP_MD_CTX_free(instance->hash);
  EVP_MD_free(instance->sha256);
  EVP_CIPHER_CTX_free(instance->once);
  EVP_CIPHER_free(instance->cipher);
  free(instance);
}

static Instance *instance_of(napi_env env) {
  void *instance = NULL;
  return napi_get_instance_data(env, &instance) == napi_ok ? instance : NULL;
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

/** What a key is derived from. */
typedef struct {
  Bytes secret;
  Bytes salt;
  Bytes label;
} Source;

static bool take_source(napi_env env, const napi_value *arguments, Source *source) {
  return take_bytes(env, arguments[0], &source->secret) && source->secret.length >= 1 && source->secret.length <= MOST_INFO &&
         take_bytes(env, arguments[1], &source->salt) && source->salt.length >= 1 && source->salt.length <= MOST_SALT && take_bytes(env, arguments[2], &source->label) && source->label.length >= 1 &&
         source->label.length <= MOST_INFO;
}

static bool hash_padded(Instance *instance, Bytes key, uint8_t pad, Bytes first, Bytes second, unsigned char *digest) {
  unsigned char block[BLOCK_SIZE];
  memset(block, pad, sizeof block);
  for (size_t i = 0; i < key.length; i++) block[i] ^= key.bytes[i];
  bool done = EVP_DigestInit_ex2(instance->hash, instance->sha256, NULL) == 1 && EVP_DigestUpdate(instance->hash, block, sizeof block) == 1 &&
              EVP_DigestUpdate(instance->hash, first.bytes, first.length) == 1 && EVP_DigestUpdate(instance->hash, second.bytes, second.length) == 1 &&
              EVP_DigestFinal_ex(instance->hash, digest, NULL) == 1;
  OPENSSL_cleanse(block, sizeof block);
  return done;
}

/** HMAC-SHA-256 (RFC 2104) of two texts in turn. The key has at most 64 bytes. */
static bool hmac(Instance *instance, Bytes key, Bytes first, Bytes second, unsigned char *digest) {
  unsigned char inner[HASH_SIZE];
  Bytes outer = {inner, sizeof inner};
  Bytes none = {inner, 0};
  bool done = hash_padded(instance, key, 0x36, first, second, inner) && hash_padded(instance, key, 0x5c, outer, none, digest);
  OPENSSL_cleanse(inner, sizeof inner);
  return done;
}

/** HKDF-SHA-256 (RFC 5869): extract, and the first block of expand. To be cleansed by the caller. */
static bool derive_key(Instance *instance, const Source *source, unsigned char *derived) {
  unsigned char extracted[HASH_SIZE];
  uint8_t counter = 1;
  Bytes key = {extracted, sizeof extracted};
  Bytes last = {&counter, sizeof counter};
  Bytes none = {&counter, 0};
  bool done = hmac(instance, source->salt, source->secret, none, extracted) && hmac(instance, key, source->label, last, derived);
  OPENSSL_cleanse(extracted, sizeof extracted);
  // What is left in the context is the derived key.
  return EVP_DigestInit_ex2(instance->hash, instance->sha256, NULL) == 1 && done;
}

/** create(secret, salt, info, sealing): a context for the segments of one stream, under the key that is derived. */
static napi_value create(napi_env env, napi_callback_info info) {
  napi_value arguments[4];
  Source source;
  bool sealing = false;
  if (!take_arguments(env, info, 4, arguments) || !take_source(env, arguments, &source) || napi_get_value_bool(env, arguments[3], &sealing) != napi_ok) {
    return fail(env, "create(secret, salt, info, sealing)");
  }
  Instance *instance = instance_of(env);
  if (instance == NULL) return fail(env, "no instance");
  Stream *stream = calloc(1, sizeof *stream);
  if (stream == NULL) return fail(env, "no memory");
  stream->sealing = sealing;
  stream->context = EVP_CIPHER_CTX_new();
  napi_value handle = NULL;
  unsigned char key[KEY_SIZE];
  bool made = stream->context != NULL && derive_key(instance, &source, key) &&
              EVP_CipherInit_ex2(stream->context, instance->cipher, key, NULL, sealing ? 1 : 0, NULL) == 1 &&
              napi_create_external(env, stream, free_stream, NULL, &handle) == napi_ok;
  OPENSSL_cleanse(key, sizeof key);
  if (made) return handle;
  free_stream(env, stream, NULL);
  return fail(env, "no context");
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

/** derive(secret, salt, info, output): HKDF-SHA-256 (RFC 5869), as many bytes as the output has. */
static napi_value derive(napi_env env, napi_callback_info info) {
  napi_value arguments[4];
  Source source;
  Bytes output;
  if (!take_arguments(env, info, 4, arguments) || !take_source(env, arguments, &source) || !take_bytes(env, arguments[3], &output) ||
      output.length < 1 || output.length > MOST_DERIVED) {
    return fail(env, "derive(secret, salt, info, output of 1 to 32 bytes)");
  }
  Instance *instance = instance_of(env);
  if (instance == NULL) return fail(env, "no instance");
  unsigned char derived[MOST_DERIVED];
  bool done = derive_key(instance, &source, derived);
  // By way of the stack: the output may be where the secret was.
  if (done) memcpy(output.bytes, derived, output.length);
  OPENSSL_cleanse(derived, sizeof derived);
  return done ? NULL : fail(env, "derive");
}

/** sign(key, text, output): HMAC-SHA-256 (RFC 2104), of 32 bytes. */
static napi_value sign(napi_env env, napi_callback_info info) {
  napi_value arguments[3];
  Bytes key;
  Bytes text;
  Bytes output;
  if (!take_arguments(env, info, 3, arguments) || !take_bytes(env, arguments[0], &key) || key.length < 1 || key.length > BLOCK_SIZE ||
      !take_bytes(env, arguments[1], &text) || !take_bytes(env, arguments[2], &output) || output.length != HASH_SIZE) {
    return fail(env, "sign(key of 1 to 64 bytes, text, output of 32 bytes)");
  }
  Instance *instance = instance_of(env);
  if (instance == NULL) return fail(env, "no instance");
  Bytes none = {output.bytes, 0};
  unsigned char digest[HASH_SIZE];
  bool done = hmac(instance, key, text, none, digest) && EVP_DigestInit_ex2(instance->hash, instance->sha256, NULL) == 1;
  // By way of the stack: the output may be where the key or the text was.
  if (done) memcpy(output.bytes, digest, sizeof digest);
  OPENSSL_cleanse(digest, sizeof digest);
  return done ? NULL : fail(env, "sign");
}

/** random(output): fills it, from the generator that node:crypto uses. */
static napi_value random_bytes(napi_env env, napi_callback_info info) {
  napi_value arguments[1];
  Bytes output;
  if (!take_arguments(env, info, 1, arguments) || !take_bytes(env, arguments[0], &output) || output.length < 1 || output.length > MOST_INFO) {
    return fail(env, "random(output of 1 to 1024 bytes)");
  }
  return RAND_bytes(output.bytes, (int)output.length) == 1 ? NULL : fail(env, "random");
}

/** What sealOnce and openOnce are given. */
typedef struct {
  Source source;
  Bytes nonce;
  Bytes aad;
  Bytes input;
  // Of 16 bytes: where the output's tag goes, or that of the input.
  Bytes tag;
  Bytes output;
} Box;

static bool overlap(Bytes a, Bytes b) {
  uintptr_t first = (uintptr_t)a.bytes;
  uintptr_t second = (uintptr_t)b.bytes;
  return first < second ? second - first < a.length : first - second < b.length;
}

/** The output is where the input is, or has no byte in common with it. */
static bool side_by_side(Bytes a, Bytes b) {
  return a.bytes == b.bytes || !overlap(a, b);
}

static bool take_box(napi_env env, napi_callback_info info, Box *box) {
  napi_value arguments[8];
  return take_arguments(env, info, 8, arguments) && take_source(env, arguments, &box->source) && take_bytes(env, arguments[3], &box->nonce) &&
         box->nonce.length == NONCE_SIZE && take_bytes(env, arguments[4], &box->aad) && box->aad.length <= INT_MAX &&
         take_bytes(env, arguments[5], &box->input) && box->input.length <= INT_MAX && take_bytes(env, arguments[6], &box->output) &&
         box->output.length == box->input.length && side_by_side(box->input, box->output) && take_bytes(env, arguments[7], &box->tag) &&
         box->tag.length == TAG_SIZE && (box->input.length == 0 || (!overlap(box->tag, box->input) && !overlap(box->tag, box->output)));
}

/** Derives the key, begins, takes the AAD and the input. */
static bool cipher_box(Instance *instance, const Box *box, bool sealing) {
  int written = 0;
  int length = (int)box->input.length;
  unsigned char key[KEY_SIZE];
  bool done = derive_key(instance, &box->source, key) &&
              EVP_CipherInit_ex2(instance->once, instance->cipher, key, box->nonce.bytes, sealing ? 1 : 0, NULL) == 1 &&
              (box->aad.length == 0 || EVP_CipherUpdate(instance->once, NULL, &written, box->aad.bytes, (int)box->aad.length) == 1) &&
              (length == 0 || (EVP_CipherUpdate(instance->once, box->output.bytes, &written, box->input.bytes, length) == 1 && written == length));
  OPENSSL_cleanse(key, sizeof key);
  return done;
}

/** sealOnce(secret, salt, info, nonce, aad, plaintext, ciphertext, tag): one message under a derived key that has no other. */
static napi_value seal_once(napi_env env, napi_callback_info info) {
  Box box;
  Instance *instance = instance_of(env);
  if (instance == NULL || !take_box(env, info, &box)) {
    return fail(env, "sealOnce(secret, salt, info, nonce of 12 bytes, aad, plaintext, ciphertext, tag of 16 bytes)");
  }
  unsigned char none[TAG_SIZE];
  int written = 0;
  bool done = cipher_box(instance, &box, true) && EVP_CipherFinal_ex(instance->once, none, &written) == 1 && written == 0 &&
              EVP_CIPHER_CTX_ctrl(instance->once, EVP_CTRL_AEAD_GET_TAG, TAG_SIZE, box.tag.bytes) == 1;
  EVP_CIPHER_CTX_reset(instance->once);
  return done ? NULL : fail(env, "sealOnce");
}

/** openOnce(secret, salt, info, nonce, aad, ciphertext, plaintext, tag): whether the tag is right; where it is not, the plaintext is zeros. */
static napi_value open_once(napi_env env, napi_callback_info info) {
  Box box;
  Instance *instance = instance_of(env);
  if (instance == NULL || !take_box(env, info, &box)) {
    return fail(env, "openOnce(secret, salt, info, nonce of 12 bytes, aad, ciphertext, plaintext, tag of 16 bytes)");
  }
  unsigned char none[TAG_SIZE];
  int written = 0;
  bool done = cipher_box(instance, &box, false) && EVP_CIPHER_CTX_ctrl(instance->once, EVP_CTRL_AEAD_SET_TAG, TAG_SIZE, box.tag.bytes) == 1;
  bool verified = done && EVP_CipherFinal_ex(instance->once, none, &written) == 1;
  EVP_CIPHER_CTX_reset(instance->once);
  if (!verified) OPENSSL_cleanse(box.output.bytes, box.output.length);
  napi_value answer = NULL;
  if (!done || napi_get_boolean(env, verified, &answer) != napi_ok) return fail(env, "openOnce");
  return answer;
}

// malloc_trim(3), of the C library of GNU.
static napi_value trim(napi_env env, napi_callback_info info) {
  (void)info;
  napi_value answer = NULL;
  if (napi_get_boolean(env, malloc_trim(0) == 1, &answer) != napi_ok) return fail(env, "trim");
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
  Instance *instance = calloc(1, sizeof *instance);
  if (instance == NULL) return fail(env, "no memory");
  instance->cipher = EVP_CIPHER_fetch(NULL, "AES-256-GCM", NULL);
  instance->once = EVP_CIPHER_CTX_new();
  instance->sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
  instance->hash = EVP_MD_CTX_new();
  if (instance->cipher == NULL || instance->once == NULL || instance->sha256 == NULL || instance->hash == NULL ||
      napi_set_instance_data(env, instance, free_instance, NULL) != napi_ok) {
    free_instance(env, instance, NULL);
    return fail(env, "OpenSSL has no AES-256-GCM or no SHA-256");
  }
  bool complete = add(env, exports, "create", create) && add(env, exports, "begin", begin) && add(env, exports, "update", update) &&
                  add(env, exports, "tag", tag) && add(env, exports, "verify", verify) && add(env, exports, "derive", derive) &&
                  add(env, exports, "random", random_bytes) && add(env, exports, "sign", sign) && add(env, exports, "sealOnce", seal_once) &&
                  add(env, exports, "openOnce", open_once) && add(env, exports, "trim", trim);
  return complete ? exports : fail(env, "no exports");
}
