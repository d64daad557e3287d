# What the package shows, written by scripts/write_stubs.py.
from kdrun.models.access import Opaque as opaque
from kdrun.models.adapters import EmbeddingAdapter as embedding_adapter
from kdrun.models.adapters import NormalizedLinear as normalised_linear
from kdrun.models.adapters import linear_projector as linear_projector
from kdrun.models.adapters import log_variance_head as log_variance_head
from kdrun.models.adapters import mlp_codec as mlp_codec
from kdrun.models.adapters import standardized_linear as standardized_linear
from kdrun.models.aggregators import MixtureTokenAggregator as mixture_token_aggregator
from kdrun.models.augmentors import AffineAugmentor as affine_augmentor
from kdrun.models.augmentors import LatentPerturber as latent_perturber
from kdrun.models.augmentors import MaskMixer as mask_mixer
from kdrun.models.augmentors import VariationalAutoencoder as variational_autoencoder
from kdrun.models.autoencoders import EmbeddingAutoencoder as embedding_autoencoder
from kdrun.models.bags import GatedAttentionMIL as gated_attention_mil
from kdrun.models.bags import MeanPoolingMIL as mean_pooling_mil
from kdrun.models.bags import TopKExpertRouting as topk_expert_routing
from kdrun.models.basic import ConvolutionalNetwork as cnn
from kdrun.models.basic import LinearClassifier as linear_classifier
from kdrun.models.basic import MultilayerPerceptron as mlp
from kdrun.models.basic import RandomFeatures as random_features
from kdrun.models.basic import RowValues as row_values
from kdrun.models.basic import RowVectors as row_vectors
from kdrun.models.basic import linear as linear
from kdrun.models.bottlenecks import adapter_attention as adapter_attention
from kdrun.models.bottlenecks import bottleneck_adapters as bottleneck_adapters
from kdrun.models.bottlenecks import scaled_adapters as scaled_adapters
from kdrun.models.cifar.mobilenet import MobileNetV2 as mobilenet_v2
from kdrun.models.cifar.residual import CifarResNet as cifar_resnet
from kdrun.models.cifar.residual import WideResNet as wide_resnet
from kdrun.models.cifar.shufflenet import ShuffleNetV1 as shufflenet_v1
from kdrun.models.cifar.shufflenet import ShuffleNetV2 as shufflenet_v2
from kdrun.models.cifar.vgg import CifarVgg as cifar_vgg
from kdrun.models.continual import MultiHeadNetwork as multi_head_network
from kdrun.models.continual import ScaledProjection as scaled_projection
from kdrun.models.denoisers import ResidualDenoiser as residual_denoiser
from kdrun.models.denoisers import diffusers_unet as diffusers_unet
from kdrun.models.density import DilatedDensityNet as dilated_density_net
from kdrun.models.external import huggingface as transformers
from kdrun.models.external import timm as timm
from kdrun.models.external import torchvision as torchvision
from kdrun.models.generative import ConditionalGenerator as conditional_generator
from kdrun.models.generative import TextConditionedGenerator as text_conditioned_generator
from kdrun.models.generative import TwoHeadDiscriminator as two_head_discriminator
from kdrun.models.graph_embeddings import GraphEmbedding as graph_embedding
from kdrun.models.heads import BottleneckClassifier as bottleneck_classifier
from kdrun.models.heads import CosineClassifier as cosine_classifier
from kdrun.models.heads import MultiHeadClassifier as multi_head_classifier
from kdrun.models.low_rank import low_rank_adapter as low_rank_adapter
from kdrun.models.map_adapters import AttentionFusion as attention_fusion
from kdrun.models.map_adapters import BottleneckStem as bottleneck_stem
from kdrun.models.map_adapters import Paraphraser as paraphraser
from kdrun.models.map_adapters import VariationalRegressor as vid_regressor
from kdrun.models.map_adapters import conv_adapter as conv_adapter
from kdrun.models.map_adapters import conv_projector as conv_projector
from kdrun.models.map_adapters import translator as translator
from kdrun.models.point_clouds import PointNet as pointnet
from kdrun.models.prototypes import PrototypeClassifier as prototype_classifier
from kdrun.models.prototypes import PrototypeHeads as prototype_heads
from kdrun.models.sentences import ImageTower as image_tower
from kdrun.models.sentences import SentenceEncoder as sentence_encoder
from kdrun.models.sentences import TextTower as text_tower
from kdrun.models.sets import SetPredictionTransformer as set_prediction_transformer
from kdrun.models.small_transformers import CausalTransformer as causal_transformer
from kdrun.models.small_transformers import EncoderTransformer as encoder_transformer
from kdrun.models.small_transformers import VisionTransformer as vision_transformer
from kdrun.models.soft_prompts import prefix_prompt as prefix_prompt
from kdrun.models.spaces import StagedNetwork as staged_network
from kdrun.models.supermasks import SupermaskNetwork as supermask_network
from kdrun.models.taggers import AdapterTagger as adapter_tagger
from kdrun.models.taggers import BottleneckAdapter as bottleneck_adapter
from kdrun.models.taggers import RecurrentTagger as recurrent_tagger
from kdrun.models.taggers import WindowTagger as window_tagger
from kdrun.models.text_vectors import CnnTextEncoder as cnn_text_encoder
from kdrun.models.text_vectors import WordBagEncoder as word_bag_encoder
from kdrun.models.ties import untied as untied

__all__ = [
    "adapter_attention",
    "adapter_tagger",
    "affine_augmentor",
    "attention_fusion",
    "bottleneck_adapter",
    "bottleneck_adapters",
    "bottleneck_classifier",
    "bottleneck_stem",
    "causal_transformer",
    "cifar_resnet",
    "cifar_vgg",
    "cnn",
    "cnn_text_encoder",
    "conditional_generator",
    "conv_adapter",
    "conv_projector",
    "cosine_classifier",
    "diffusers_unet",
    "dilated_density_net",
    "embedding_adapter",
    "embedding_autoencoder",
    "encoder_transformer",
    "gated_attention_mil",
    "graph_embedding",
    "image_tower",
    "latent_perturber",
    "linear",
    "linear_classifier",
    "linear_projector",
    "log_variance_head",
    "low_rank_adapter",
    "mask_mixer",
    "mean_pooling_mil",
    "mixture_token_aggregator",
    "mlp",
    "mlp_codec",
    "mobilenet_v2",
    "multi_head_classifier",
    "multi_head_network",
    "normalised_linear",
    "opaque",
    "paraphraser",
    "pointnet",
    "prefix_prompt",
    "prototype_classifier",
    "prototype_heads",
    "random_features",
    "recurrent_tagger",
    "residual_denoiser",
    "row_values",
    "row_vectors",
    "scaled_adapters",
    "scaled_projection",
    "sentence_encoder",
    "set_prediction_transformer",
    "shufflenet_v1",
    "shufflenet_v2",
    "staged_network",
    "standardized_linear",
    "supermask_network",
    "text_conditioned_generator",
    "text_tower",
    "timm",
    "topk_expert_routing",
    "torchvision",
    "transformers",
    "translator",
    "two_head_discriminator",
    "untied",
    "variational_autoencoder",
    "vid_regressor",
    "vision_transformer",
    "wide_resnet",
    "window_tagger",
    "word_bag_encoder",
]
