import { Button, Group, Modal, Text, TextInput } from '@mantine/core';
import { type SubmitEvent, useState } from 'react';
import { useNavigate } from 'react-router';
import { may } from '../../api/permissions';
import { useAskToWatch, useMe } from '../../api/queries';
import type { Session } from '../../api/types';
import { ProblemNote } from '../../ui/ProblemNote';
import { useInertPage } from '../../ui/useInertPage';

/** Asks a session's user whether one may look on; the answer is awaited on a page of its own. */
export function AskToWatch({ session }: { session: Session }) {
  const me = useMe().data ?? null;
  const [open, setOpen] = useState(false);
  if (session.state !== 'running' || session.user.id === me?.id || !may(me, 'sessions:watch')) return null;
  return (
    <>
      <Button variant="light" onClick={() => setOpen(true)}>
        Ask to look on
      </Button>
      <Question session={session} open={open} onClose={() => setOpen(false)} />
    </>
  );
}

function Question({ session, open, onClose }: { session: Session; open: boolean; onClose: () => void }) {
  const [reason, setReason] = useState('');
  const ask = useAskToWatch();
  const navigate = useNavigate();
  useInertPage(open);
  const send = (event: SubmitEvent) => {
    event.preventDefault();
    ask.mutate(
      { id: session.id, reason: reason.trim() },
      { onSuccess: (watch) => void navigate(`/admin/sessions/${session.id}/watches/${watch.id}`) },
    );
  };
  return (
    <Modal
      opened={open}
      onClose={onClose}
      title={`Ask ${session.user.name} to let you look on?`}
      centered
      transitionProps={{ duration: 0 }}
      closeButtonProps={{ 'aria-label': 'Close' }}
    >
      <form onSubmit={send} noValidate>
        <Text size="sm">
          {session.user.name} is asked over their desktop and has a minute to answer. Nothing is shown to you before. They see that you look on, and
          can stop it at any time; it ends after an hour.
        </Text>
        <TextInput
          mt="md"
          label="Why"
          description="They read this."
          required
          maxLength={128}
          value={reason}
          onChange={(event) => setReason(event.currentTarget.value)}
          data-autofocus
        />
        {ask.isError && <ProblemNote error={ask.error} />}
        <Group justify="flex-end" mt="lg">
          <Button variant="default" onClick={onClose}>
            Cancel
          </Button>
          <Button type="submit" loading={ask.isPending} disabled={reason.trim() === ''}>
            Ask
          </Button>
        </Group>
      </form>
    </Modal>
  );
}
