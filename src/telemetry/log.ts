import { type Logger, pino } from 'pino';

export type { Logger };

/** JSON lines on stderr, one an event. Secrets never reach a logger; the paths here are a second net. */
export function createLogger(role: string, level: string): Logger {
  if (!(level in pino.levels.values) && level !== 'silent') {
    throw new Error(
      `LOG_LEVEL is "${level}"; it must be one of ${Object.keys(pino.levels.values).join(', ')}, silent.`,
    );
  }
  return pino(
    {
      level,
      base: { role, pid: process.pid },
      redact: [
        'token',
        'key',
        'authorization',
        'secret',
        'password',
        '*.token',
        '*.authorization',
        '*.secret',
        '*.password',
      ],
      timestamp: pino.stdTimeFunctions.isoTime,
    },
    pino.destination({ fd: 2, sync: true }),
  );
}
