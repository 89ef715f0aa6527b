import { createCipheriv, createDecipheriv, createHash, createHmac, hkdfSync, randomBytes } from 'node:crypto';

/**
 * Encryption of everything Sallyport must be able to read back: upstream secrets at rest, and the tokens it hands
 * out (session ids, cursors). AES-256-GCM with random 96-bit nonces; the context (say, `credential:<row id>`) is
 * bound as additional data, so that a ciphertext moved to another row does not open.
 */
export interface Vault {
  /** Encrypts under the newest key. Layout: nonce (12 bytes), ciphertext, tag (16 bytes). */
  seal(plain: Buffer, context: string): { ciphertext: Buffer; keyId: string };
  /** Throws `VaultError` if the key is missing or the ciphertext was not sealed under it with this context. */
  open(ciphertext: Buffer, keyId: string, context: string): Buffer;
  /** Like `seal`, for what travels through clients: one base64url string, key id inside. */
  sealToken(plain: Buffer, context: string): string;
  /**
   * Like `sealToken`, but the same content gives the same token: for identifiers that a client compares (task ids, ids of
   * an upstream's requests). It tells no more than that two are equal. The nonce is a MAC of the content (RFC 5297's idea).
   */
  sealStable(plain: Buffer, context: string): string;
  /** The token's content, or undefined for whatever this vault did not seal. Takes microseconds either way. */
  openToken(token: string, context: string): Buffer | undefined;
  /** Id of the key that seals; rows under another id want sealing again. */
  readonly keyId: string;
}

/** A secret cannot be opened, or the keys given cannot be used. Says what to do and nothing secret. */
export class VaultError extends Error {
  override readonly name = 'VaultError';
}

const NONCE = 12;
const TAG = 16;
const KEY_ID = 4;
/** Longer tokens are refused unread; ours are a few hundred bytes. */
const MAX_TOKEN = 16_384;
const MIN_TOKEN = Math.ceil(((KEY_ID + NONCE + TAG) * 4) / 3);

interface KeyPair {
  readonly id: string;
  readonly atRest: Buffer;
  readonly tokens: Buffer;
  readonly nonces: Buffer;
}

/** `secretKeys` is SALLYPORT_SECRET_KEY: one key or `new,old,…`, each 32 bytes as hex or base64. The first seals. */
export function createVault(secretKeys: string): Vault {
  const pairs = secretKeys.split(',').map((text, index) => keyPair(decodeKey(text.trim(), index)));
  const newest = pairs[0] as KeyPair;
  const byId = new Map(pairs.map((pair) => [pair.id, pair]));
  const newestId = Buffer.from(newest.id, 'hex');

  return {
    keyId: newest.id,
    seal: (plain, context) => ({
      ciphertext: encrypt(newest.atRest, plain, context, randomBytes(NONCE)),
      keyId: newest.id,
    }),
    open(ciphertext, keyId, context) {
      const pair = byId.get(keyId);
      if (pair === undefined) {
        throw new VaultError(
          `A stored secret was sealed with key ${keyId}, which SALLYPORT_SECRET_KEY does not contain (it has ${[...byId.keys()].join(', ')}). ` +
            'Append the old key (SALLYPORT_SECRET_KEY=new,old) or store the secret again.',
        );
      }
      const plain = decrypt(pair.atRest, ciphertext, context);
      if (plain !== undefined) return plain;
      throw new VaultError(
        `A stored secret sealed with key ${keyId} does not open: the row was altered or belongs elsewhere. Store the secret again.`,
      );
    },
    sealToken: (plain, context) =>
      Buffer.concat([newestId, encrypt(newest.tokens, plain, context, randomBytes(NONCE))]).toString('base64url'),
    sealStable(plain, context) {
      const mac = createHmac('sha256', newest.nonces).update(`${context}\0`).update(plain).digest();
      return Buffer.concat([newestId, encrypt(newest.tokens, plain, context, mac.subarray(0, NONCE))]).toString(
        'base64url',
      );
    },
    openToken(token, context) {
      if (token.length < MIN_TOKEN || token.length > MAX_TOKEN) return undefined;
      // Eight characters are the first six bytes: enough to know whose key it names before decoding the rest.
      const pair = byId.get(Buffer.from(token.slice(0, 8), 'base64url').toString('hex', 0, KEY_ID));
      if (pair === undefined) return undefined;
      const bytes = Buffer.from(token, 'base64url');
      const plain = decrypt(pair.tokens, bytes.subarray(KEY_ID), context);
      // Node's decoder skips foreign characters: only the one canonical spelling is the token.
      return plain !== undefined && bytes.toString('base64url') === token ? plain : undefined;
    },
  };
}

function encrypt(key: Buffer, plain: Buffer, context: string, nonce: Buffer): Buffer {
  const cipher = createCipheriv('aes-256-gcm', key, nonce).setAAD(Buffer.from(context));
  return Buffer.concat([nonce, cipher.update(plain), cipher.final(), cipher.getAuthTag()]);
}

function decrypt(key: Buffer, sealed: Buffer, context: string): Buffer | undefined {
  if (sealed.length < NONCE + TAG) return undefined;
  const cipher = createDecipheriv('aes-256-gcm', key, sealed.subarray(0, NONCE), { authTagLength: TAG });
  cipher.setAAD(Buffer.from(context)).setAuthTag(sealed.subarray(sealed.length - TAG));
  const plain = cipher.update(sealed.subarray(NONCE, sealed.length - TAG));
  try {
    cipher.final();
    return plain;
  } catch {
    return undefined;
  }
}

/** One subkey per purpose: a token that clients hold can never be replayed as a stored secret or the reverse. */
function keyPair(key: Buffer): KeyPair {
  const derive = (purpose: string) => Buffer.from(hkdfSync('sha256', key, '', `sallyport ${purpose}`, 32));
  return {
    id: createHash('sha256')
      .update(key)
      .digest('hex')
      .slice(0, KEY_ID * 2),
    atRest: derive('secrets at rest'),
    tokens: derive('tokens'),
    nonces: derive('nonces of stable tokens'),
  };
}

function decodeKey(text: string, index: number): Buffer {
  if (/^[0-9a-f]{64}$/i.test(text)) return Buffer.from(text, 'hex');
  if (/^[A-Za-z0-9+/_-]{43}=?$/.test(text)) return Buffer.from(text, 'base64');
  const which = index === 0 ? 'The key in SALLYPORT_SECRET_KEY' : `Key ${index + 1} in SALLYPORT_SECRET_KEY`;
  throw new VaultError(
    `${which} is not 32 bytes in hex (64 digits) or base64 (44 characters). Make one with: openssl rand -hex 32`,
  );
}
