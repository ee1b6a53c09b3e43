import { Button, Group, Modal, Text } from '@mantine/core';
import { type ReactNode, useState } from 'react';
import { useEndSession } from '../api/queries';
import type { Session } from '../api/types';
import { ProblemNote } from '../ui/ProblemNote';
import { useInertPage } from '../ui/useInertPage';

/** Asks once before a session is ended. `onDone` runs when the server has taken the order. */
export function useEndDialog(onDone?: () => void): { ask: (session: Session) => void; dialog: ReactNode } {
  const [session, setSession] = useState<Session | null>(null);
  const [open, setOpen] = useState(false);
  const end = useEndSession();
  useInertPage(open);

  const ask = (subject: Session) => {
    end.reset();
    setSession(subject);
    setOpen(true);
  };
  const confirm = () => {
    if (!session) return;
    end.mutate(session.id, {
      onSuccess: () => {
        setOpen(false);
        onDone?.();
      },
    });
  };

  const dialog = (
    <Modal
      opened={open}
      onClose={() => setOpen(false)}
      title={`End ${session?.name ?? 'the session'}?`}
      centered
      // Gone at once: a second `End session` must not linger beside the first.
      transitionProps={{ duration: 0 }}
      closeButtonProps={{ 'aria-label': 'Close' }}
    >
      <Text size="sm">
        The programs in it are closed and what was not saved is lost. To come back later, just close this page instead: the
        workspace goes on running.
      </Text>
      {end.isError && <ProblemNote error={end.error} />}
      <Group justify="flex-end" mt="lg">
        <Button variant="default" onClick={() => setOpen(false)} data-autofocus>
          Keep working
        </Button>
        <Button color="red" onClick={confirm} loading={end.isPending}>
          End session
        </Button>
      </Group>
    </Modal>
  );
  return { ask, dialog };
}
