import { Button, Group, Modal, Text } from '@mantine/core';
import { type ReactNode, useState } from 'react';
import { useInertPage } from './useInertPage';

interface Question {
  title: string;
  text: string;
  /** The word on the button that does it. */
  action: string;
  onConfirm: () => void;
}

/** Asks once before something that cannot be taken back. */
export function useConfirm(): { ask: (question: Question) => void; dialog: ReactNode } {
  const [question, setQuestion] = useState<Question | null>(null);
  const [open, setOpen] = useState(false);
  useInertPage(open);
  const ask = (next: Question) => {
    setQuestion(next);
    setOpen(true);
  };
  const confirm = () => {
    setOpen(false);
    question?.onConfirm();
  };
  const dialog = (
    <Modal
      opened={open}
      onClose={() => setOpen(false)}
      title={question?.title}
      centered
      transitionProps={{ duration: 0 }}
      closeButtonProps={{ 'aria-label': 'Close' }}
    >
      <Text size="sm">{question?.text}</Text>
      <Group justify="flex-end" mt="lg">
        <Button variant="default" onClick={() => setOpen(false)} data-autofocus>
          Cancel
        </Button>
        <Button color="red" onClick={confirm}>
          {question?.action}
        </Button>
      </Group>
    </Modal>
  );
  return { ask, dialog };
}
